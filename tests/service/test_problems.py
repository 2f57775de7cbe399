"""Invalid requests to `POST /v1/ground`: the status, the code and the wrong field."""

import json
from dataclasses import dataclass, field
from inspect import isabstract
from typing import Any

import httpx
import pytest

from app import errors
from app.errors import ClientDisconnected, Kosmos2Error, RequestError, ServiceError, StartupError
from app.http.problems import PROBLEMS
from harness.pictures import picture_file
from harness.problems import problem

PICTURE = picture_file()


@dataclass(frozen=True)
class Case:
    """A request and its expected problem."""

    name: str
    status: int
    code: str
    data: dict[str, Any] = field(default_factory=lambda: {"task": "brief_caption"})
    image: bytes | None = PICTURE
    wrong: str | None = None


def boxes(*xyxy: list[Any]) -> str:
    return json.dumps([{"boxes": list(xyxy)}])


def describe(regions: str) -> dict[str, str]:
    return {"task": "referring_expression_generation", "regions": regions}


def phrase(text: str) -> dict[str, str]:
    return {"task": "phrase_grounding", "text": text}


CASES = (
    Case("no task", 422, "invalid_request", {}, wrong="task"),
    Case("unknown task", 422, "invalid_request", {"task": "dance"}, wrong="task"),
    Case(
        "unknown field",
        422,
        "invalid_request",
        {"task": "brief_caption", "txet": "x"},
        wrong="txet",
    ),
    Case(
        "useless text",
        422,
        "invalid_request",
        {"task": "brief_caption", "text": "a cat"},
        wrong="text",
    ),
    Case(
        "useless box format",
        422,
        "invalid_request",
        {"task": "brief_caption", "box_format": "normalized"},
        wrong="box_format",
    ),
    Case("no text", 422, "invalid_request", {"task": "phrase_grounding"}, wrong="text"),
    Case("blank text", 422, "invalid_request", phrase("  "), wrong="text"),
    Case("control token", 422, "invalid_request", phrase("a </image> cat"), wrong="text"),
    Case("full-width control token", 422, "invalid_request", phrase("a ＜pad＞"), wrong="text"),
    Case("endless text", 422, "invalid_request", phrase("cat " * 30_000), wrong="text"),
    Case(
        "longer than a slot",
        422,
        "invalid_request",
        {"task": "brief_caption", "max_new_tokens": "600"},
        wrong="max_new_tokens",
    ),
    Case(
        "too many new tokens",
        422,
        "invalid_request",
        {"task": "brief_caption", "max_new_tokens": "1025"},
        wrong="max_new_tokens",
    ),
    Case(
        "no number",
        422,
        "invalid_request",
        {"task": "brief_caption", "temperature": "warm"},
        wrong="temperature",
    ),
    Case(
        "no finite number",
        422,
        "invalid_request",
        {"task": "brief_caption", "temperature": "nan"},
        wrong="temperature",
    ),
    Case(
        "no boolean",
        422,
        "invalid_request",
        {"task": "brief_caption", "grounding": "yes"},
        wrong="grounding",
    ),
    Case(
        "no grounding where boxes are the answer",
        422,
        "invalid_request",
        phrase("a cat") | {"grounding": "false"},
        wrong="grounding",
    ),
    Case("no regions", 422, "invalid_request", describe("[]"), wrong="regions"),
    Case("regions no JSON", 422, "invalid_request", describe("[{"), wrong="regions"),
    Case("regions too deep", 422, "invalid_request", describe("[" * 60_000), wrong="regions"),
    Case("regions no list", 422, "invalid_request", describe("{}"), wrong="regions"),
    Case(
        "a box of three",
        422,
        "invalid_request",
        describe(boxes([1, 2, 3])),
        wrong="regions[0].boxes[0]",
    ),
    Case(
        "an inverted box",
        422,
        "invalid_request",
        describe(boxes([1, 1, 20, 20], [9, 1, 5, 5])),
        wrong="regions[0].boxes[1]",
    ),
    Case(
        "an endless box",
        422,
        "invalid_request",
        describe(boxes([0, 0, float("inf"), 5])),
        wrong="regions[0].boxes[0]",
    ),
    Case(
        "a box outside",
        422,
        "invalid_request",
        describe(boxes([400, 0, 500, 5])),
        wrong="regions[0].boxes[0]",
    ),
    Case(
        "too many boxes",
        422,
        "invalid_request",
        describe(boxes(*[[1, 1, 9, 9]] * 17)),
        wrong="regions[0].boxes",
    ),
    Case(
        "a phrase that the question lacks",
        422,
        "invalid_request",
        {
            "task": "grounded_vqa",
            "text": "Where is that?",
            "regions": json.dumps([{"phrase": "the fire", "boxes": [[1, 1, 9, 9]]}]),
        },
        wrong="regions[0].phrase",
    ),
    Case("no picture", 422, "invalid_request", image=None, wrong="image"),
    Case("an empty picture", 422, "invalid_request", image=b"", wrong="image"),
    Case("not a picture", 422, "invalid_image", image=b"hello"),
    Case("a picture cut short", 422, "invalid_image", image=PICTURE[:-100]),
    Case("too many pixels", 413, "image_too_large", image=picture_file((1001, 1000), "JPEG")),
    Case("too many bytes", 413, "payload_too_large", image=bytes(300_000)),
    Case(
        "a format that is not accepted",
        415,
        "unsupported_image_format",
        image=b"\xff\x0a" + bytes(20),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_mistake_is_reported(client: httpx.Client, case: Case) -> None:
    files = None if case.image is None else {"image": case.image}
    if files is None:  # without a file, httpx sends multipart only for fields passed as `files`
        fields = {name: (None, value) for name, value in case.data.items()}
        response = client.post("/v1/ground", files=fields)
    else:
        response = client.post("/v1/ground", files=files, data=case.data)
    content = problem(response)
    assert (content["status"], content["code"]) == (case.status, case.code)
    assert [error["field"] for error in content.get("errors", ())][:1] == [case.wrong][
        : case.wrong is not None
    ]


def test_a_field_that_is_sent_twice_is_reported(client: httpx.Client) -> None:
    files = [("image", PICTURE), ("task", (None, "brief_caption")), ("task", (None, "raw"))]
    content = problem(client.post("/v1/ground", files=files))
    assert content["errors"] == [{"field": "task", "message": "is sent twice"}]


def test_all_wrong_fields_are_reported_together(client: httpx.Client) -> None:
    data = {"task": "dance", "top_p": "2", "seed": "-1"}
    content = problem(client.post("/v1/ground", files={"image": PICTURE}, data=data))
    assert {error["field"] for error in content["errors"]} == {"task", "top_p", "seed"}


def test_an_error_of_length_states_the_length_and_the_limit(client: httpx.Client) -> None:
    """Nothing is truncated silently."""
    data = {"task": "brief_caption", "max_new_tokens": "600"}
    detail = problem(client.post("/v1/ground", files={"image": PICTURE}, data=data))["detail"]
    assert "600" in detail
    assert "512" in detail


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        ({"task": "grounded_vqa", "text": "what is this " * 800}, "text"),
        (phrase("a cat " * 400), "text"),
        (
            describe(json.dumps([{"phrase": "x1y" * 333, "boxes": [[1, 1, 9, 9]]}])),
            "regions",
        ),
        (
            {
                "task": "grounded_vqa",
                "text": "Where is a cat " * 16,
                "regions": json.dumps([{"phrase": "a cat", "boxes": [[1, 1, 9, 9]] * 16}] * 16),
            },
            "regions",
        ),
    ],
)
def test_a_prompt_over_the_limit_is_reported_under_its_longest_field(
    client: httpx.Client, data: dict[str, str], wrong: str
) -> None:
    """A smaller `max_new_tokens` would not help."""
    content = problem(client.post("/v1/ground", files={"image": PICTURE}, data=data))
    assert [mistake["field"] for mistake in content["errors"]] == [wrong]
    assert "512" in content["detail"]


def test_a_picture_under_another_name_is_reported_with_the_right_name(client: httpx.Client) -> None:
    files = {"content": ("a.png", PICTURE)}
    content = problem(client.post("/v1/ground", files=files, data={"task": "brief_caption"}))
    assert content["errors"][0] == {
        "field": "content",
        "message": "is not a field of this request; send the picture in the field image",
    }


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "detail"),
    [
        ("GET", "/nowhere", 404, "not_found", "the service has no such path"),
        ("GET", "/v1/ground", 405, "method_not_allowed", "the path accepts only POST"),
        ("POST", "/v1/tasks", 405, "method_not_allowed", "the path accepts only GET, HEAD"),
    ],
)
def test_a_wrong_path_or_method_is_a_problem(
    client: httpx.Client, method: str, path: str, status: int, code: str, detail: str
) -> None:
    content = problem(client.request(method, path))
    assert (content["status"], content["code"], content["detail"]) == (status, code, detail)


def test_no_message_has_a_path_or_a_repr(client: httpx.Client) -> None:
    for case in CASES:
        if case.image:
            detail = client.post("/v1/ground", files={"image": case.image}, data=case.data).text
            assert not any(mark in detail for mark in ("Traceback", "/app/", "object at 0x", ".py"))


def test_every_error_of_a_request_has_a_status() -> None:
    """The table is complete and has no obsolete entries."""
    leaves = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, Kosmos2Error)
        and not issubclass(kind, StartupError | ClientDisconnected)
        and kind not in {Kosmos2Error, RequestError, ServiceError}
    }
    assert not any(isabstract(leaf) for leaf in leaves)
    assert PROBLEMS.keys() == leaves
