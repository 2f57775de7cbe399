"""Roboflow's paths accept its clients' bodies and answer like `POST /v1/detect`.

`tests/clients/test_roboflow.py` runs the released client.
"""

import base64
from typing import Any

import httpx
import pytest

from app.contract.examples import EXAMPLE_SCENE
from app.http.routes.roboflow import ROBOFLOW_PATHS
from harness.service import running_service

PICTURE = {"type": "base64", "value": base64.b64encode(EXAMPLE_SCENE.read_bytes()).decode()}
BODY = {"api_key": "not-a-key", "text": ["red circle", "green star"], "image": PICTURE}


def infer(client: httpx.Client, path: str = ROBOFLOW_PATHS[0], **fields: Any) -> httpx.Response:
    return client.post(path, json=BODY | fields)


@pytest.mark.parametrize("path", ROBOFLOW_PATHS)
@pytest.mark.parametrize("threshold", ["confidence", "box_threshold"])
def test_the_answer_is_that_of_detect(client: httpx.Client, path: str, threshold: str) -> None:
    ours = client.post(
        "/v1/detect",
        json={"image": {"base64": PICTURE["value"]}, "classes": BODY["text"], "confidence": 0.3},
    ).json()
    theirs = infer(client, path, **{threshold: 0.3}, disable_active_learning=False).json()
    assert theirs.keys() == ours.keys()
    assert [one["xyxy"] for one in theirs["predictions"]] == [
        one["xyxy"] for one in ours["predictions"]
    ]
    assert {one["class"] for one in theirs["predictions"]} == {"red circle"}


def test_a_list_of_pictures_gets_a_list_of_answers(client: httpx.Client) -> None:
    answers = infer(client, image=[PICTURE, PICTURE], confidence=0.3).json()
    assert [len(answer["predictions"]) for answer in answers] == [2, 2]
    assert infer(client, image=[]).json() == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image": {"type": "url", "value": "http://127.0.0.1/a.jpg"}}, "image: must be"),
        ({"image": None}, "image: must be"),
        ({"image": {"type": "base64"}}, 'image: must be {"type": "base64", "value": "…"}'),
        ({"image": {"type": "base64", "value": ""}}, "image.value: is empty"),
        ({"image": {"type": "base64", "value": "~"}}, "image.value: is not base64"),
        ({"image": [PICTURE, {"type": "base64", "value": "~"}]}, "image[1].value: is not base64"),
        ({"image": [PICTURE, 7]}, "image[1]: must be"),
        ({"text": []}, "text: list should have at least 1 item, not 0"),
        ({"text": "a"}, "text: "),
        ({"text": ["a", "a"]}, "text[1]: occurs twice"),
        ({"text": ["a", " "]}, "text[1]: must not be blank"),
        ({"confidence": 2}, "confidence: "),
        ({"box_threshold": 7}, "box_threshold: "),
    ],
)
def test_an_error_has_the_message_where_the_client_reads_it(
    client: httpx.Client, fields: dict[str, Any], message: str
) -> None:
    response = infer(client, **fields)
    assert (response.status_code, response.headers["content-type"]) == (422, "application/json")
    assert response.json()["message"].startswith(message)
    assert response.json()["request_id"] == response.headers["x-request-id"]


def test_a_key_in_the_body_is_never_used_and_errors_before_the_body_have_the_same_shape() -> None:
    with (
        running_service(api_keys="the-key", max_body_bytes=5000) as service,
        httpx.Client(base_url=service.url) as client,
    ):
        refused = infer(client, api_key="the-key")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert "Authorization" in refused.json()["message"]
        client.headers["Authorization"] = "Bearer the-key"
        too_large = infer(client)
        assert (too_large.status_code, "message" in too_large.json()) == (413, True)
