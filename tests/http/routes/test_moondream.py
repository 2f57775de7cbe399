"""The door for Moondream's clients, in process: what it accepts, answers and refuses."""

import base64
from typing import Any

import httpx
import pytest

from app.detect.predictions import ClassResult, Detections, Prediction
from app.errors import DeadlineExceeded, InvalidRequest, Overloaded
from app.grounding.answers import AnswerBox, ImageFacts, NewText, Usage
from app.grounding.tokenizer import MAX_CHARACTERS
from app.http.routes.moondream import moondream_router
from harness.door_app import DoorApp, KnownService
from harness.sample_answers import sample_answer
from tests.http.routes.chats import chunks

PNG = "data:image/png;base64," + base64.b64encode(b"picture").decode()
BOX = AnswerBox((6, 4, 32, 24), (0.1, 0.1, 0.5, 0.5), (0, 495), 0.7, None, None, 0.6)
ANSWER = sample_answer(BOX)
FOUND = Prediction(0, "dog", (10, 20, 30, 40), (0.1, 0.2, 0.3, 0.6), 0.9, 0.8, 0.72, "id")
DETECTIONS = Detections(
    id="7",
    model="m",
    classes=(ClassResult(0, "dog", 0.9, (FOUND,)),),
    image=ImageFacts(100, 100, 1),
    threshold=0.2,
    num_tiles=0,
    is_calibrated=True,
    notice=None,
    usage=Usage(70, 3, 0),
)
SCORES = {"label": "dog", "confidence": 0.72, "presence": 0.9, "expected_iou": 0.8}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> DoorApp:
    folder = tmp_path_factory.mktemp("moondream")
    return DoorApp("moondream", moondream_router, KnownService(), folder)


@pytest.fixture
def send(door: DoorApp) -> Any:
    """Sends a body to a route whose service gives known answers; returns response and service."""

    def call(
        route: str, service: KnownService | None = None, **fields: Any
    ) -> tuple[httpx.Response, KnownService]:
        known = service or KnownService(ANSWER, DETECTIONS)
        door.service.imitate(known)
        return door.send("POST", f"/moondream/{route}", json={"image_url": PNG} | fields), known

    return call


@pytest.mark.parametrize(
    ("length", "task"),
    [("short", "brief_caption"), ("normal", "detailed_caption"), ("long", "detailed_caption")],
)
def test_the_length_of_a_caption_chooses_the_task(send: Any, length: str, task: str) -> None:
    response, service = send("caption", length=length, stream=False, model="moondream-3")
    assert response.json()["caption"] == "a dog"
    [asked] = service.requests
    assert (asked.task.name, asked.image, asked.shortens_answer) == (task, b"picture", True)


def test_a_question_is_answered_with_boxes(send: Any) -> None:
    settings = {"temperature": 0.5, "top_p": 0.3, "max_tokens": 5000, "variant": "x"}
    response, service = send("query", question="What?", settings=settings, reasoning=False)
    content = response.json()
    assert (content["answer"], content["request_id"]) == ("a dog", "1")
    assert content["grounding"]["entities"][0]["boxes"][0]["confidence"] == 0.6
    [asked] = service.requests
    assert (asked.task.name, asked.text) == ("grounded_vqa", "What?")
    assert (asked.temperature, asked.top_p, asked.max_new_tokens) == (0.5, 0.3, 1024)


@pytest.mark.parametrize(("route", "field"), [("caption", {}), ("query", {"question": "What?"})])
def test_a_stream_ends_with_completed(send: Any, route: str, field: dict[str, str]) -> None:
    service = KnownService(ANSWER, parts=(NewText("a "), NewText("dog")))
    response, _ = send(route, service, stream=True, **field)
    *texts, last = chunks(response)
    assert texts == [{"chunk": "a "}, {"chunk": "dog"}]
    assert last["completed"] is True
    assert last["grounding"]["entities"][0]["phrase"] == "a dog"


def test_detect_returns_boxes_with_scores(send: Any) -> None:
    response, service = send("detect", object="dog", settings={"max_objects": 3})
    box = {"x_min": 0.1, "y_min": 0.2, "x_max": 0.3, "y_max": 0.6}
    assert response.json() == {"request_id": "7", "objects": [box | SCORES]}
    [asked] = service.requests
    assert (asked.classes, asked.max_per_class, asked.image) == (("dog",), 3, b"picture")


def test_point_returns_the_centres(send: Any) -> None:
    response, _ = send("point", object="dog")
    [point] = response.json()["points"]
    assert (point["x"], point["y"]) == pytest.approx((0.2, 0.4))
    assert point | SCORES == point


@pytest.mark.parametrize(
    ("route", "fields", "code", "part"),
    [
        ("caption", {"length": "endless"}, "invalid_request", "length: "),
        ("caption", {"image_url": "https://a.example/b.png"}, "image_url_not_allowed",
         "image_url: must be a data URI"),
        ("caption", {"image_url": None}, "invalid_request", "image_url: is required"),
        ("query", {}, "invalid_request", "question: is required"),
        ("query", {"question": "?", "spatial_refs": [[0.1, 0.2]]}, "invalid_request",
         "spatial_refs: are not supported"),
        ("point", {"object": "a", "spatial_refs": [[0.1, 0.2]]}, "invalid_request",
         "spatial_refs: are not supported"),
        ("detect", {}, "invalid_request", "object: is required"),
        ("point", {"object": "a", "settings": {"max_objects": 0}}, "invalid_request",
         "settings.max_objects"),
        ("query", {"question": "?", "settings": {"temperature": 9}}, "invalid_request",
         "settings.temperature: "),
        ("caption", {"settings": {"top_p": 0}}, "invalid_request", "settings.top_p: "),
        ("query", {"question": "a" * (MAX_CHARACTERS + 1)}, "invalid_request", "question: "),
        ("detect", {"object": "a" * 201}, "invalid_request", "object: "),
    ],
)  # fmt: skip
def test_a_mistake_is_named(
    send: Any, route: str, fields: dict[str, Any], code: str, part: str
) -> None:
    response, service = send(route, **fields)
    content = response.json()
    assert (response.status_code, content["code"]) == (422, code)
    assert content["detail"].startswith(part)
    assert service.requests == []


@pytest.mark.parametrize(
    ("route", "fields", "ours", "theirs"),
    [
        ("query", {"question": ""}, "text", "question"),
        ("caption", {}, "max_new_tokens", "settings.max_tokens"),
        ("detect", {"object": ""}, "classes[0]", "object"),
        ("point", {"object": ""}, "classes[0]", "object"),
    ],
)
def test_a_mistake_that_the_service_finds_is_named_as_sent(
    send: Any, route: str, fields: dict[str, str], ours: str, theirs: str
) -> None:
    service = KnownService(ANSWER, error=InvalidRequest(ours, "is wrong"))
    response, _ = send(route, service, **fields)
    assert (response.status_code, response.json()["detail"]) == (422, f"{theirs}: is wrong")


@pytest.mark.parametrize("route", ["detect", "point"])
def test_a_full_service_reports_when_to_retry(send: Any, route: str) -> None:
    response, _ = send(route, KnownService(ANSWER, error=Overloaded("full", 4)), object="dog")
    assert (response.status_code, response.headers["retry-after"]) == (503, "4")
    assert response.json()["detail"] == "full"


def test_an_error_in_a_stream_is_its_last_event(send: Any) -> None:
    service = KnownService(ANSWER, error=DeadlineExceeded("late"))
    *_, last = chunks(send("caption", service, stream=True)[0])
    assert (last["code"], last["detail"]) == ("deadline_exceeded", "late")
    assert "completed" not in last
