"""SageMaker's and Vertex AI's requests, in process."""

from functools import cache
from typing import Any

import httpx
import pytest

from app.grounding.answers import AnswerBox
from app.http.routes.invocations import ATTRIBUTES, invocations_router
from harness.door_app import DoorApp, KnownService
from harness.sample_answers import sample_answer
from tests.http.routes.test_moondream import DETECTIONS

BOX = AnswerBox((6, 4, 32, 24), (0.1, 0.1, 0.5, 0.5), (0, 495), 0.7, None, None, 0.6)
OPTIONS = "task=brief_caption"


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Returns the door of each text of options."""

    @cache
    def build(options: str) -> DoorApp:
        def router(service: Any, calls: Any) -> Any:
            return invocations_router("/invocations", service, calls, options)

        folder = tmp_path_factory.mktemp("invocations")
        return DoorApp("sagemaker", router, KnownService(), folder)

    return build


@pytest.fixture
def send(doors: Any) -> Any:
    """Sends a request to a route with an operator's options; returns response and service."""

    def call(options: str = OPTIONS, **arguments: Any) -> tuple[httpx.Response, KnownService]:
        service = KnownService(sample_answer(BOX), DETECTIONS)
        doors(options).service.imitate(service)
        return doors(options).send("POST", "/invocations", **arguments), service

    return call


def picture(**headers: str) -> dict[str, Any]:
    return {"content": b"picture", "headers": {"Content-Type": "image/png"} | headers}


def test_a_bare_picture_gets_the_options_of_the_operator(send: Any) -> None:
    """Batch transform sends neither a query nor attributes."""
    response, service = send(**picture())
    assert response.json()["answer"] == "a dog"
    assert service.requests[0].task.name == "brief_caption"
    response, service = send("classes=cat,dog&confidence=0.2", **picture())
    assert response.json()["predictions"][0]["class"] == "dog"
    assert service.requests[0].classes == ("cat", "dog")


def test_custom_attributes_are_a_query_string(send: Any) -> None:
    attributes = "task=grounded_vqa&text=Where%20is%20a%20cat%3F"
    _, service = send(**picture(**{ATTRIBUTES: attributes}))
    assert (service.requests[0].task.name, service.requests[0].text) == (
        "grounded_vqa", "Where is a cat?",
    )  # fmt: skip
    _, service = send(**picture(**{ATTRIBUTES: "classes=cat"}))
    assert service.requests[0].classes == ("cat",)


@pytest.mark.parametrize(
    ("fields", "expected"), [({"task": "detailed_caption"}, "a dog"), ({"classes": ["dog"]}, None)]
)
def test_json_has_its_own_fields(send: Any, fields: dict[str, Any], expected: str | None) -> None:
    """As `rawPredict` passes it on."""
    response, _ = send(json={"image": {"base64": "aGk="}} | fields)
    assert response.json().get("answer") == expected
    assert ("predictions" in response.json()) is (expected is None)


def test_an_answer_can_be_streamed(send: Any) -> None:
    response, _ = send(**picture(**{ATTRIBUTES: f"{OPTIONS}&stream=true"}))
    assert response.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("attributes", ["task=dance", "task=raw&task=raw", "tsak=raw", "c=%ff"])
def test_a_mistake_in_the_attributes_is_a_problem(send: Any, attributes: str) -> None:
    response, service = send(**picture(**{ATTRIBUTES: attributes}))
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert service.requests == []
