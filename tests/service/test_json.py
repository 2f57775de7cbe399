"""The same requests as JSON, and what the headers may say."""

import base64
import json
from typing import Any

import httpx
import pytest

from tests.service.test_ground import FIELDS, PICTURE, ask
from tests.service.test_problems import problem

IMAGE = {"base64": base64.b64encode(PICTURE).decode()}


def without_times(answer: dict[str, Any]) -> dict[str, Any]:
    usage = {name: count for name, count in answer["usage"].items() if name != "cached_tokens"}
    return answer | {"id": "", "timings": {}, "usage": usage}


@pytest.mark.parametrize("task", FIELDS)
def test_json_and_a_form_get_the_same_answer(client: httpx.Client, task: str) -> None:
    fields: dict[str, Any] = dict(FIELDS[task])
    form = ask(client, task=task, **fields).json()
    if "regions" in fields:
        fields["regions"] = json.loads(fields["regions"])
    body = {"image": IMAGE, "task": task, "seed": None, "temperature": 0, **fields}
    response = client.post("/v1/ground", json=body)
    assert response.status_code == 200, response.text
    assert without_times(response.json()) == without_times(form)


def test_a_data_uri_is_read_as_well(client: httpx.Client) -> None:
    url = f"data:image/png;base64,{IMAGE['base64']}"
    for image in (url, {"url": url}):
        body = {"image": image, "task": "brief_caption"}
        assert client.post("/v1/ground", json=body).status_code == 200


@pytest.mark.parametrize(
    ("content", "code", "wrong"),
    [
        (b"{", "malformed_body", None),
        (b"[]", "malformed_body", None),
        (b"[" * 100_000, "malformed_body", None),
        (b'{"task": "raw", "text": NaN}', "malformed_body", None),
        (b'{"task": "\xff"}', "malformed_body", None),
        (b'{"task": "raw", "task": "raw"}', "invalid_request", "task"),
        (b'{"task": "raw"}', "invalid_request", "image"),
        (b'{"image": "https://example.com/a.png"}', "invalid_request", "image.url"),
        (b'{"image": {"base64": "aGk="}, "task": "raw", "text": 5}', "invalid_request", "text"),
        (
            b'{"image": {"base64": "aGk="}, "task": "brief_caption", "top_k": "5"}',
            "invalid_request",
            "top_k",
        ),
    ],
)
def test_each_mistake_is_told(
    client: httpx.Client, content: bytes, code: str, wrong: str | None
) -> None:
    headers = {"Content-Type": "application/json"}
    told = problem(client.post("/v1/ground", content=content, headers=headers))
    assert told["code"] == code
    assert wrong is None or wrong in {each["field"] for each in told["errors"]}


def test_half_a_character_is_told(client: httpx.Client) -> None:
    """JSON can spell a lone surrogate, which no tokenizer reads."""
    body = json.dumps({"image": IMAGE, "task": "phrase_grounding", "text": "a \ud800 cat"})
    headers = {"Content-Type": "application/json"}
    told = problem(client.post("/v1/ground", content=body, headers=headers))
    assert told["errors"][0]["field"] == "text"


@pytest.mark.parametrize("asked", ["0", "-1", "soon", "nan", ""])
def test_a_timeout_that_is_none_is_told(client: httpx.Client, asked: str) -> None:
    headers = {"X-Request-Timeout": asked}
    response = client.post("/v1/ground", files={"image": PICTURE}, headers=headers)
    assert problem(response)["errors"][0]["field"] == "X-Request-Timeout"


def test_a_client_may_lower_the_deadline(client: httpx.Client) -> None:
    """Nobody decodes for somebody who has given up."""
    headers = {"X-Request-Timeout": "0.000001"}
    body = {"image": IMAGE, "task": "brief_caption"}
    told = problem(client.post("/v1/ground", json=body, headers=headers))
    assert (told["status"], told["code"]) == (504, "deadline_exceeded")


def test_an_answer_that_nobody_can_read_is_not_acceptable(client: httpx.Client) -> None:
    body = {"image": IMAGE, "task": "brief_caption"}
    told = problem(client.post("/v1/ground", json=body, headers={"Accept": "text/html"}))
    assert (told["status"], told["code"]) == (406, "not_acceptable")
