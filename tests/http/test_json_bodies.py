"""Pictures in JSON bodies: base64 in every common spelling, data URIs, and no other URL."""

import asyncio
import base64
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from app.contract.json_values import MAX_VALUES
from app.errors import InvalidRequest, PayloadTooLarge
from app.http.json_bodies import decode_base64, decode_data_uri, read_json, take_image


@given(data=st.binary(min_size=1, max_size=60), cut=st.integers(0, 2), gap=st.sampled_from("\n \t"))
def test_padding_is_optional_and_white_space_is_ignored(data: bytes, cut: int, gap: str) -> None:
    """Encoders wrap lines, and some omit the padding."""
    text = base64.b64encode(data).decode()
    wrapped = gap.join(text[i : i + 7] for i in range(0, len(text), 7))
    assert decode_base64("image", wrapped.rstrip("=") + "=" * cut) == data


@given(data=st.binary(min_size=1, max_size=40), escaped=st.sets(st.integers(0, 60)))
def test_any_character_of_a_data_uri_may_be_escaped(data: bytes, escaped: set[int]) -> None:
    text = base64.b64encode(data).decode() + "\n"
    written = (f"%{ord(c):02x}" if n in escaped else c for n, c in enumerate(text))
    assert decode_data_uri("image", "data:;base64," + "".join(written)) == data


@pytest.mark.parametrize(
    "data", ["QQ%", "QQ%3", "QQ%3D%", "QQ%zz", "%\nQQ", "QQ%3Dä", "QQ%3D\ud800"]
)
def test_a_malformed_escape_is_not_base64(data: str) -> None:
    with pytest.raises(InvalidRequest, match="standard alphabet"):
        decode_data_uri("image", "data:;base64," + data)


@pytest.mark.parametrize("escape", ["%41", "%", "%ff"])
def test_a_uri_of_escapes_needs_little_memory(escape: str) -> None:
    """And so little time: a list of all escapes would have a hundred times the size of the body."""
    uri = "data:;base64," + escape * 200_000
    tracemalloc.start()
    with suppress(InvalidRequest):
        decode_data_uri("image", uri)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * len(uri)


@pytest.mark.parametrize("text", ["a", "ab_-", "ab*d", "abcde", "ä"])
def test_invalid_base64_is_rejected(text: str) -> None:
    with pytest.raises(InvalidRequest, match="standard alphabet"):
        decode_base64("image", text)


@pytest.mark.parametrize(
    "image",
    [
        {"base64": "aGVsbG8="},
        {"url": "data:image/png;base64,aGVsbG8="},
        {"url": "data:;base64,aGVsbG8"},
        {"url": "data:image/svg+xml;charset=utf-8;base64,aGVsbG8="},
        "data:image/jpeg;base64,aGVsbG8=",
    ],
)
def test_a_picture_may_be_base64_or_a_data_uri(image: Any) -> None:
    fields = {"image": image, "task": "raw"}
    assert take_image(fields) == b"hello"
    assert fields == {"task": "raw"}


@pytest.mark.parametrize(
    "image",
    [
        "https://example.com/a.png",
        {"url": "http://127.0.0.1/metrics"},
        {"url": "file:///etc/passwd"},
        {"url": "data:image/png,plain"},
        {"base64": ""},
        {"base64": 5},
        {"base64": "aGk=", "url": "data:;base64,aGk="},
        {"path": "a.png"},
        {},
        [],
        7,
        None,
    ],
)
def test_any_other_picture_is_rejected(image: Any) -> None:
    """The service never fetches a URL for a client."""
    with pytest.raises(InvalidRequest, match="image"):
        take_image({"image": image})


def test_a_picture_with_a_further_name_is_not_reported_as_missing() -> None:
    with pytest.raises(InvalidRequest, match="nothing else"):
        take_image({"image": {"base64": "aGk=", "media_type": "image/png"}})
    with pytest.raises(InvalidRequest, match="is required"):
        take_image({})


@pytest.mark.parametrize("kind", ["url", "base64"])
@pytest.mark.parametrize(
    "prefix",
    [
        "data:image/jpeg;name=my%20photo.jpg;base64,",
        'data:image/jpeg;name="my photo; a, b.jpg";base64,',
        'data:image/jpeg;name="a\\"b.jpg";size=5;base64,',
        "data:image/jpeg;name=ä(1)'s.jpg;base64,",
        "data:image/jpeg;name=a=b;base64,",
        "data:image/jpeg;name=;base64,",
        "data:image/jpeg;name=a%2Cb%3Bc.jpg;charset=utf-8;base64,",
        "data:image/jpeg;name=" + "%D1%84" * 120 + ".jpg;base64,",
        "data:image/jpeg ; charset=utf-8 ; base64 ,",
        "data:image/jpeg;flag;base64,",
        "DATA:IMAGE/JPEG;BASE64,",
        " data:;base64,",
    ],
)
def test_a_data_uri_may_have_any_parameters(prefix: str, kind: str) -> None:
    """The field `base64` accepts a data URI as well."""
    assert take_image({"image": {kind: prefix + "aGVsbG8="}}) == b"hello"
    assert take_image({"image": {kind: prefix + "aGVsbG8%3D"}}) == b"hello"


def test_bare_base64_is_reported_under_the_field_that_was_sent() -> None:
    with pytest.raises(InvalidRequest, match='^image: must be {"base64"'):
        take_image({"image": "aGVsbG8="})


def read(body: bytes) -> tuple[bytes, dict[str, Any]]:
    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    return asyncio.run(read_json(Request({"type": "http", "headers": []}, receive)))


@pytest.mark.parametrize("value", [b"{}", b"[]", b"1"])
def test_too_many_values_are_rejected_before_parsing(value: bytes) -> None:
    """Parsing millions of values takes seconds, in which the process serves no other request."""
    body = b'{"image": {"base64": "aGk="}, "more": [' + value + (b"," + value) * MAX_VALUES + b"]}"
    with pytest.raises(PayloadTooLarge, match="300,000 values"):
        read(body)


def test_a_large_picture_does_not_count_as_many_values() -> None:
    """Values are counted by their commas and brackets, which base64 does not contain."""
    assert read(b'{"image": {"base64": "' + b"aGk+" * 200_000 + b'"}}')[0][:2] == b"hi"
