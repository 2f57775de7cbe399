"""`POST /v1/ground` with a JSON body, and the effect of request headers."""

import base64
import json
from typing import Any

import httpx
import pytest

from harness.problems import problem
from tests.service.test_ground import FIELDS, PICTURE, ask

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


def test_a_data_uri_is_accepted(client: httpx.Client) -> None:
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
def test_each_mistake_is_reported(
    client: httpx.Client, content: bytes, code: str, wrong: str | None
) -> None:
    headers = {"Content-Type": "application/json"}
    content = problem(client.post("/v1/ground", content=content, headers=headers))
    assert content["code"] == code
    assert wrong is None or wrong in {error["field"] for error in content["errors"]}


def test_a_lone_surrogate_is_rejected(client: httpx.Client) -> None:
    """JSON can express half a character, which no tokenizer accepts."""
    body = json.dumps({"image": IMAGE, "task": "phrase_grounding", "text": "a \ud800 cat"})
    headers = {"Content-Type": "application/json"}
    content = problem(client.post("/v1/ground", content=body, headers=headers))
    assert content["errors"][0]["field"] == "text"


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "nan", ""])
def test_an_invalid_timeout_is_rejected(client: httpx.Client, seconds: str) -> None:
    headers = {"X-Request-Timeout": seconds}
    response = client.post("/v1/ground", files={"image": PICTURE}, headers=headers)
    assert problem(response)["errors"][0]["field"] == "X-Request-Timeout"


def test_a_client_may_shorten_the_deadline(client: httpx.Client) -> None:
    """The engine does not decode for clients that no longer wait."""
    headers = {"X-Request-Timeout": "0.000001"}
    body = {"image": IMAGE, "task": "brief_caption"}
    content = problem(client.post("/v1/ground", json=body, headers=headers))
    assert (content["status"], content["code"]) == (504, "deadline_exceeded")


def test_an_unsupported_accept_header_is_not_acceptable(client: httpx.Client) -> None:
    body = {"image": IMAGE, "task": "brief_caption"}
    content = problem(client.post("/v1/ground", json=body, headers={"Accept": "text/html"}))
    assert (content["status"], content["code"]) == (406, "not_acceptable")
