"""Hostile bodies are rejected quickly, with the mistake named, and never cause a 5xx."""

import base64
import json
from collections.abc import Iterable
from typing import Any

import httpx
import pytest

from app.contract.validation import MAX_ERRORS
from harness.pictures import picture_file
from harness.problems import problem

PICTURE = picture_file()
FORM = "multipart/form-data; boundary=x"
TASK = (b'form-data; name="task"', b"brief_caption")
IMAGE = (b'form-data; name="image"; filename="a"', PICTURE)


def form(*parts: tuple[bytes, bytes], end: bytes = b"--x--\r\n") -> bytes:
    """Return a form whose parts have the given dispositions and contents."""
    written = (
        b"--x\r\nContent-Disposition: " + disposition + b"\r\n\r\n" + content + b"\r\n"
        for disposition, content in parts
    )
    return b"".join(written) + end


def fields(count: int) -> Iterable[tuple[bytes, bytes]]:
    return ((b'form-data; name="field%d"' % number, b"") for number in range(count))


def post(client: httpx.Client, body: bytes, kind: str) -> httpx.Response:
    headers = {"Content-Type": kind}
    return client.post("/v1/ground", content=body, headers=headers)


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (form(IMAGE, TASK, end=b""), FORM, "malformed_body"),
        (form(IMAGE, TASK)[:-8], FORM, "malformed_body"),
        (b"\r\n" * 50_000, FORM, "malformed_body"),
        (b"-" * 100_000, FORM, "malformed_body"),
        (b"--x" * 50_000, FORM, "invalid_request"),
        (form(*fields(3000)), FORM, "malformed_body"),
        (form((IMAGE[0], b"\r\n--xy" * 1001), TASK), FORM, "malformed_body"),
        (form(*[IMAGE] * 3), FORM, "malformed_body"),
        (form((b'form-data; name="a"\r\nX: ' + b"y" * 100_000, b"")), FORM, "malformed_body"),
        (form((b'form-data; name="a"' + b"\r\nX: y" * 5000, b"")), FORM, "malformed_body"),
        (form((b"form-data", b"")), FORM, "malformed_body"),
        (form((b"", b"")), FORM, "malformed_body"),
        (form(IMAGE, (b'form-data; name="task"', b"\xff")), FORM, "malformed_body"),
        (form(IMAGE, (b'form-data; name="a\0"', b"")), FORM, "invalid_request"),
        (form(IMAGE, TASK), "multipart/form-data", "malformed_body"),
        (form(IMAGE, TASK), "multipart/form-data; boundary=", "malformed_body"),
        (form(IMAGE, TASK), "multipart/form-data; boundary=y", "malformed_body"),
        (form(IMAGE, TASK), "multipart/form-data; boundary=" + "x" * 5000, "malformed_body"),
        (form(IMAGE, TASK), "multipart/form-data; boundary*=x", "malformed_body"),
        (form(IMAGE, TASK), "multipart/mixed; boundary=x", "unsupported_media_type"),
        (form(IMAGE, TASK), f"{FORM}; charset=undefined", "unsupported_media_type"),
        (form(IMAGE, TASK), f"{FORM}; charset=punycode", "unsupported_media_type"),
        (form(IMAGE, TASK), f"{FORM}; charset=utf-7", "unsupported_media_type"),
    ],
)
def test_an_invalid_form_is_rejected(
    client: httpx.Client, body: bytes, kind: str, code: str
) -> None:
    """Only UTF-8 is accepted: some of Python's codecs need minutes for a megabyte."""
    content = problem(post(client, body, kind))
    assert content["code"] == code
    assert content["status"] < 500


def test_a_form_whose_pictures_hold_boundaries_is_read(client: httpx.Client) -> None:
    """Half a boundary every few bytes makes the search slow, but changes nothing else."""
    disposition, _ = IMAGE
    content = problem(post(client, form((disposition, b"\r\n--" * 40_000), TASK), FORM))
    assert content["code"] == "invalid_image"


@pytest.mark.parametrize("charset", ['"UTF-8"', "utf8", "us-ascii"])
def test_a_form_may_declare_utf8(client: httpx.Client, charset: str) -> None:
    limit = (b'form-data; name="max_new_tokens"', b"1")
    response = post(client, form(IMAGE, TASK, limit), f"{FORM}; charset={charset}")
    assert response.status_code == 200


def as_json(**fields: Any) -> bytes:
    image = {"base64": base64.b64encode(PICTURE).decode()}
    return json.dumps({"image": image, "task": "brief_caption"} | fields).encode()


@pytest.mark.parametrize(
    ("body", "code", "wrong"),
    [
        (as_json(text="\ud800"), "invalid_request", "text"),
        (b'{"\\ud800": 1}', "malformed_body", None),
        (b'{"\\ud800": 1, "\\ud800": 2}', "malformed_body", None),
        (b'{"image": {"\\udc00": ""}}', "malformed_body", None),
        (as_json(unknown={"\udfff": 1}), "malformed_body", None),
        (as_json(**{f"field{number}": 1 for number in range(1025)}), "malformed_body", None),
        (as_json(**{"a" * 100_000: 1}), "invalid_request", "a" * 200 + "…"),
        (as_json(unknown=json.loads("[" * 900 + "]" * 900)), "invalid_request", "unknown"),
        (b'{"image":' + b"[" * 100_000, "malformed_body", None),
        (b'{"image":' * 5_000, "malformed_body", None),
        (as_json(seed=1).replace(b"1}", b"9" * 5000 + b"}"), "malformed_body", None),
        (as_json(seed=-1), "invalid_request", "seed"),
        (as_json(seed=2**63), "invalid_request", "seed"),
        (as_json(top_k=10**400), "invalid_request", "top_k"),
        (as_json(temperature=10**400), "invalid_request", "temperature"),
        (as_json(temperature=1).replace(b"1}", b"1e999}"), "invalid_request", "temperature"),
        (as_json(temperature=float("nan")), "malformed_body", None),
        (as_json(top_p=float("-inf")), "malformed_body", None),
        (as_json(task=None), "invalid_request", "task"),
        (as_json(task={"a": 1}), "invalid_request", "task"),
        (as_json(image="https://example.com/a.png"), "invalid_request", "image.url"),
        (as_json(image="data:" + "a" * 100_000), "invalid_request", "image.url"),
        (as_json(image="data:" + ";a=b" * 20_000), "invalid_request", "image.url"),
        (as_json(image={"base64": " " * 100_000}), "invalid_request", "image"),
        (as_json(image=[{}] * 30_000), "invalid_request", "image"),
        (b"\xff\xfe" + "{}".encode("utf-16-le"), "invalid_request", "image"),
        (b"", "malformed_body", None),
        (b"null", "malformed_body", None),
        (b"\0" * 1000, "malformed_body", None),
    ],
)
def test_invalid_json_is_rejected(
    client: httpx.Client, body: bytes, code: str, wrong: str | None
) -> None:
    content = problem(post(client, body, "application/json"))
    assert content["code"] == code
    assert content["status"] < 500
    assert wrong is None or wrong in {error["field"] for error in content["errors"]}


@pytest.mark.parametrize(
    ("regions", "wrong"),
    [
        ([{"boxes": [[0, 0, "1", 1]]}], "regions[0].boxes[0][2]"),
        ([{"boxes": [[0, 0, 1, 1, 1]]}], "regions[0].boxes[0]"),
        ([{"boxes": [[0] * 10_000]}], "regions[0].boxes[0]"),
        ([{"boxes": [["a"] * 10_000]}], "regions[0].boxes[0]"),
        ([{"boxes": [[0, 0, 1, 1]] * 5_000}], "regions[0].boxes"),
        ([{"boxes": [[0, 0, 9, 9]]}] * 5_000, "regions"),
        ([{"boxes": [[5, 5, 1, 1]]}], "regions[0].boxes[0]"),
        ([{"boxes": [[5, 5, 5, 9]]}], "regions[0].boxes[0]"),
        ([{"boxes": [[-9, -9, -1, -1]]}], "regions[0].boxes[0]"),
        ([{"boxes": [[1e308, 0, 1.1e308, 9]]}], "regions[0].boxes[0]"),
        ([{"boxes": [[0, 0, 10**400, 9]]}], "regions[0].boxes[0][2]"),
        ([{"boxes": []}], "regions[0].boxes"),
        ([{"boxes": [[]]}], "regions[0].boxes[0]"),
        ([{"boxes": [None]}], "regions[0].boxes[0]"),
        ([{"boxes": [{"x": 1}]}], "regions[0].boxes[0]"),
        ([{"phrase": "a" * 1001, "boxes": [[0, 0, 9, 9]]}], "regions[0].phrase"),
        ([{"phrase": "\ud800", "boxes": [[0, 0, 9, 9]]}], "regions[0].phrase"),
        ([{"phrase": "</object>", "boxes": [[0, 0, 9, 9]]}], "regions[0].phrase"),
        ([{"phrase": " ", "boxes": [[0, 0, 9, 9]]}], "regions[0].phrase"),
        ([[]], "regions[0]"),
        ([7], "regions[0]"),
    ],
)
def test_invalid_boxes_are_reported(client: httpx.Client, regions: Any, wrong: str) -> None:
    body = as_json(task="referring_expression_generation", regions=regions)
    content = problem(post(client, body, "application/json"))
    assert content["code"] == "invalid_request"
    assert wrong in {error["field"] for error in content["errors"]}


def test_at_most_a_hundred_mistakes_are_reported(client: httpx.Client) -> None:
    """Otherwise a small request would cause a large response."""
    entity = {"boxes": [{"xyxy": ["a"] * 4}] * 16}
    body = json.loads(as_json(entities=[entity] * 64))
    del body["task"]
    content = problem(client.post("/v1/annotate", json=body))
    assert len(content["errors"]) == MAX_ERRORS


@pytest.mark.parametrize("score", [1e308, -1e308, 0.0, None])
@pytest.mark.parametrize("edge", [1e308, -1e308, 1e-308, 0.0])
@pytest.mark.parametrize("box_format", ["pixel", "normalized"])
def test_any_finite_box_can_be_drawn(
    client: httpx.Client, edge: float, score: float | None, box_format: str
) -> None:
    """The part of it inside the picture is drawn."""
    boxes = [{"xyxy": [edge, -edge, -edge, edge], "score": score}]
    body = json.loads(as_json(entities=[{"phrase": "a", "boxes": boxes}], box_format=box_format))
    del body["task"]
    response = client.post("/v1/annotate", json=body)
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    "text",
    [
        "\0",
        "a\0b",
        "\ufffe\uffff",
        "\u202e\u2066a",
        "e" + "\u0301" * 10_000,
        "\u200d" * 10_000,
        "漢字" * 1000,
        "שלום مرحبا नमस्ते สวัสดี",
        "👩‍👩‍👧‍👦🏳️‍🌈" * 500,
        "\U0010ffff",
        "ﷺ" * 5_000,
        "a" * 180_000,
        "<" * 40_000,
        "<pad>",
        "＜ｐａｄ＞",
        "<patch_index_9999>",
        "\\ud800",
    ],
)
@pytest.mark.parametrize("task", ["phrase_grounding", "grounded_vqa", "raw"])
def test_any_text_is_answered_or_rejected(client: httpx.Client, task: str, text: str) -> None:
    """Texts of several scripts, invisible characters, and texts that look like tags."""
    body = as_json(task=task, text=text, max_new_tokens=1)
    response = post(client, body, "application/json")
    assert response.status_code in {200, 413, 422}, response.text
