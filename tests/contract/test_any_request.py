"""Any input becomes a prompt or one of our own errors, which become valid problems."""

import asyncio
import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel
from starlette.requests import Request
from starlette.types import Message

from app.contract.detect_models import DetectBody
from app.contract.request_models import AnnotateBody, GroundBody
from app.contract.validation import validate
from app.errors import InvalidRequest, Kosmos2Error, RequestError
from app.grounding.answers import ImageFacts
from app.grounding.prompts import encode_request
from app.grounding.requests import GroundRequest, UserRegion
from app.grounding.tasks import TASKS
from app.grounding.tokenizer import LONE_SURROGATE, Kosmos2Tokenizer
from app.http.accept import preferred_type
from app.http.bodies import FORM, JSON, read_request
from app.http.call_context import timeout_of
from app.http.problems import response_of
from app.settings import EMBEDDED_CHECKPOINT

TOKENIZER = Kosmos2Tokenizer.load(EMBEDDED_CHECKPOINT)

# Includes lone surrogates, which JSON can express and UTF-8 cannot.
words = st.text(st.characters(), max_size=12) | st.sampled_from(
    ["a cat", "</object>", "<patch_index_0001>", "＜pad＞", "\0", "\ud800", "It", " "]
)
numbers = st.floats() | st.integers() | st.integers(-(10**400), 10**400)
values = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda nested: st.lists(nested, max_size=4) | st.dictionaries(words, nested, max_size=4),
    max_leaves=12,
)
boxes = st.lists(numbers, min_size=3, max_size=5)
regions = st.builds(dict, phrase=words | st.none(), boxes=st.lists(boxes | values, max_size=3))
entities = st.builds(
    dict,
    phrase=words | st.none(),
    boxes=st.lists(st.builds(dict, xyxy=boxes | values, score=numbers | st.none()), max_size=3),
)
NAMES = [*GroundBody.model_fields, *AnnotateBody.model_fields]


def fields() -> st.SearchStrategy[dict[str, Any]]:
    """Fields that are mostly valid, and arbitrary ones."""
    likely = st.fixed_dictionaries(
        {},
        optional={
            "task": st.sampled_from(list(TASKS)) | values,
            "text": words | values,
            "regions": st.lists(regions | values, max_size=3) | values,
            "entities": st.lists(entities | values, max_size=3) | values,
            "box_format": st.sampled_from(["pixel", "normalized"]) | values,
            "temperature": numbers | values,
            "seed": numbers | values,
        },
    )
    return st.builds(lambda a, b: a | b, likely, st.dictionaries(st.sampled_from(NAMES), values))


def check_problem(error: Kosmos2Error) -> dict[str, Any]:
    """Return the problem of an error, which has to be the client's fault."""
    content: dict[str, Any] = json.loads(bytes(response_of(error, "id").body))
    assert 400 <= content["status"] < 500
    return content


def check_field_errors(error: InvalidRequest) -> None:
    """Check the problem of an error that names the wrong fields."""
    assert check_problem(error)["errors"]


@pytest.mark.parametrize(
    ("model", "path", "sent"),
    [
        (GroundBody, "text", {"task": "raw", "text": "a \ud800 cat"}),
        (GroundBody, "regions[0].phrase", {"regions": [{"phrase": "\ud800", "boxes": [[1]]}]}),
        (AnnotateBody, "text", {"task": "raw", "text": "\ud800"}),
        (AnnotateBody, "entities[0].phrase", {"entities": [{"phrase": "\ud800", "boxes": []}]}),
        (DetectBody, "classes[0]", {"classes": ["\ud800"]}),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_a_lone_surrogate_is_rejected_in_every_text(
    model: type[BaseModel], path: str, sent: dict[str, Any], strict: bool
) -> None:
    """JSON and the arguments of a command can express one, and no answer could repeat it."""
    with pytest.raises(InvalidRequest) as raised:
        validate(model, sent, strict=strict)
    check_field_errors(raised.value)
    assert (path, LONE_SURROGATE) in [(e.field, e.message) for e in raised.value.errors]


@pytest.mark.parametrize("model", [GroundBody, AnnotateBody])
@pytest.mark.parametrize("strict", [True, False])
@given(sent=fields())
@example({"task": "raw", "text": "\ud800"})
def test_any_fields_are_accepted_or_reported(
    model: type[GroundBody] | type[AnnotateBody], strict: bool, sent: dict[str, Any]
) -> None:
    try:
        body = validate(model, sent, strict=strict)
    except InvalidRequest as error:
        check_field_errors(error)
    else:
        assert body.model_dump_json()


@given(
    task=st.sampled_from(list(TASKS.values())),
    text=words | st.none(),
    sent=st.lists(
        st.builds(UserRegion, words | st.none(), st.lists(st.tuples(*[numbers] * 4)).map(tuple)),
        max_size=3,
    ),
    box_format=st.sampled_from(["pixel", "normalized"]),
    grounding=st.booleans(),
    size=st.tuples(st.integers(1, 70_000), st.integers(1, 70_000)),
)
@example(TASKS["raw"], "<grounding>\ud800", [], "pixel", True, (1, 1))
def test_any_request_becomes_a_prompt_or_a_field_error(
    task: Any, text: Any, sent: Any, box_format: Any, grounding: bool, size: tuple[int, int]
) -> None:
    request = GroundRequest(b"", task, text, tuple(sent), box_format, grounding)
    try:
        ids = encode_request(TOKENIZER, request, ImageFacts(*size, exif_orientation=1))
    except InvalidRequest as error:
        check_field_errors(error)
    else:
        assert tuple(ids[: len(TOKENIZER.prefix_ids)]) == TOKENIZER.prefix_ids
        assert TOKENIZER.pad_id not in ids


def read(body: bytes, kind: str) -> Any:
    """Read a request whose body arrives in two parts."""
    half = len(body) // 2
    parts = iter([(body[:half], True), (body[half:], False)])

    async def receive() -> Message:
        part, more = next(parts)
        return {"type": "http.request", "body": part, "more_body": more}

    headers = [(b"content-type", kind.encode())]
    scope = {"type": "http", "path": "/v1/ground", "query_string": b"", "headers": headers}
    request = Request(scope, receive)
    return asyncio.run(read_request(request, GroundBody))


pieces = st.sampled_from(
    [b"--x", b"--", b"\r\n", b"Content-Disposition: form-data; ", b'name="task"', b'name="image"',
     b'; filename="a"', b"\r\n\r\n", b"brief_caption", b"\0", b"\xff", b"{", b"}", b"[", b'"', b":",
     b",", b'"image"', b'"task"', b'"\\ud800"', b"1e999", b"NaN", b"aGk="]
)  # fmt: skip


@pytest.mark.parametrize("kind", [JSON, f"{FORM}; boundary=x"])
@given(body=st.binary(max_size=60) | st.lists(pieces, max_size=30).map(b"".join))
def test_any_body_is_read_or_rejected(kind: str, body: bytes) -> None:
    try:
        image, _ = read(body, kind)
    except RequestError as error:
        check_problem(error)
    else:
        assert image


@given(parts=st.lists(st.text("ab*/;q=,. 019") | st.sampled_from(["q=nan", "q=inf"]), max_size=8))
def test_any_accept_header_selects_an_offered_type_or_none(parts: list[str]) -> None:
    offered = ["application/json", "text/event-stream"]
    assert preferred_type(",".join(parts), offered) in {*offered, None}


@given(header=st.text("0123456789.eE+-_ naifNI", max_size=8))
def test_any_timeout_header_is_within_the_limit_or_rejected(header: str) -> None:
    headers = [(b"x-request-timeout", header.encode())]
    try:
        seconds = timeout_of(Request({"type": "http", "headers": headers}), 120.0)
    except InvalidRequest as error:
        check_field_errors(error)
    else:
        assert 0 < seconds <= 120
        assert math.isfinite(seconds)


@pytest.mark.parametrize(("sent", "is_shortened"), [({}, True), ({"max_new_tokens": 128}, False)])
def test_only_a_limit_that_was_not_sent_is_shortened(
    sent: dict[str, Any], is_shortened: bool
) -> None:
    """Otherwise an error would name a field that the client did not send."""
    request = GroundBody(task="brief_caption", **sent).to_request(b"picture")
    assert (request.max_new_tokens, request.shortens_answer) == (128, is_shortened)
