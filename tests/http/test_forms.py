"""Forms are read in memory, part by part, as the headers of each part declare."""

import asyncio
import base64
import binascii
import math
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from app.errors import InvalidRequest, MalformedBody
from app.http.forms import read_form
from app.http.multipart import MAX_BOUNDARIES, MAX_PARTS

PICTURE = bytes(3 * 2**20)
BODY = (
    b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    + PICTURE
    + b'\r\n--x\r\nContent-Disposition: form-data; name="task"\r\n\r\nraw\r\n--x--\r\n'
)


def read(parts: Iterator[bytes]) -> tuple[bytes, dict[str, Any]]:
    async def receive() -> Message:
        part = next(parts, None)
        return {"type": "http.request", "body": part or b"", "more_body": part is not None}

    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    return asyncio.run(read_form(Request({"type": "http", "headers": headers}, receive)))


@contextmanager
def no_file_growing() -> Iterator[None]:
    """Make the system reject every write to a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_no_picture_is_written_to_a_file() -> None:
    """A file could outlive its request, and a container's file system may be read-only."""
    parts = (BODY[start : start + 2**16] for start in range(0, len(BODY), 2**16))
    with no_file_growing():
        assert read(parts) == (PICTURE, {"task": "raw"})


def test_the_limit_detects_a_write_to_a_file() -> None:
    with no_file_growing(), TemporaryFile(buffering=0) as file, pytest.raises(OSError):
        file.write(b"x")


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_body_may_arrive_in_pieces_of_any_size(size: int) -> None:
    """The network may split a body anywhere, even inside a boundary."""
    body = BODY.replace(PICTURE, b"\r\n--x\r-")
    parts = (body[start : start + size] for start in range(0, len(body), size))
    assert read(parts) == (b"\r\n--x\r-", {"task": "raw"})


@pytest.mark.parametrize("size", [1, 5, 10_000])
@pytest.mark.parametrize(
    "preamble",
    [
        b"This is a multi-part message in MIME format.\r\n",
        b"\r\n\n\r\n",
        b"--y\r\na--x\r\n\r\n --x\r\n",
        b"-" * 9000 + b"\n",
    ],
)
def test_text_before_the_first_boundary_is_ignored(preamble: bytes, size: int) -> None:
    """Libraries for mail write it; RFC 2046, section 5.1.1."""
    body = preamble + BODY.replace(PICTURE, b"picture")
    parts = (body[start : start + size] for start in range(0, len(body), size))
    assert read(parts) == (b"picture", {"task": "raw"})


@pytest.mark.parametrize("body", [b"", b"hello", BODY[1:200], b"a" + BODY[:200], b"\r\n" * 50])
def test_a_body_without_its_boundary_is_reported(body: bytes) -> None:
    with pytest.raises(MalformedBody, match="lacks the boundary"):
        read(iter([body]))


def test_text_right_after_a_boundary_is_reported() -> None:
    """The error is not in the headers of a part."""
    with pytest.raises(MalformedBody, match="not a valid multipart form"):
        read(iter([b"--xy\r\n"]))


PNG = b"\x89PNG\r\n\0\xff = "
Headers = tuple[bytes, ...]


def part(name: str, content: bytes, *headers: bytes, disposition: bytes = b"") -> bytes:
    first = b'Content-Disposition: form-data; name="%s"%s' % (name.encode(), disposition)
    return b"--x\r\n" + b"\r\n".join([first, *headers]) + b"\r\n\r\n" + content + b"\r\n"


def read_parts(*parts: bytes) -> tuple[bytes, dict[str, Any]]:
    return read(iter([*parts, b"--x--\r\n"]))


IMAGE = part("image", PNG, disposition=b'; filename="a.png"')
BLOB = b'; filename="blob"'
AS_JSON = b"Content-Type: application/json"


@pytest.mark.parametrize(
    ("disposition", "headers"),
    [
        (b"", ()),
        (b"", (b"Content-Type: image/png",)),
        (b"", (b"Content-Type: application/octet-stream",)),
        (b"", (b"Content-Type: text/plain; charset=utf-16",)),
        (b"; filename*=UTF-8''a.png", ()),
        (b'; FILENAME="a.png"', ()),
        (b'; filename=""', ()),
    ],
)
def test_the_part_named_image_is_the_picture_with_any_parameters(
    disposition: bytes, headers: Headers
) -> None:
    """RFC 7578 calls `filename` optional."""
    assert read_parts(part("image", PNG, *headers, disposition=disposition)) == (PNG, {})


@pytest.mark.parametrize("content", [b"\xff\xd8\xff", b"BM\0"])
def test_a_picture_without_a_file_name_may_look_like_text_in_part(content: bytes) -> None:
    """Text has neither zero bytes nor bytes that are not UTF-8."""
    assert read_parts(part("image", content)) == (content, {})


def test_the_number_of_parts_is_limited() -> None:
    """A form with many parts would occupy the process."""
    fields = [part(f"field{number}", b"a") for number in range(MAX_PARTS)]
    assert len(read_parts(IMAGE, *fields[1:])[1]) == MAX_PARTS - 1
    with pytest.raises(MalformedBody, match=f"at most {MAX_PARTS} parts"):
        read_parts(IMAGE, *fields)


def test_the_number_of_boundaries_inside_contents_is_limited() -> None:
    """The last boundary of the form counts, too."""
    content = PNG + b"\r\n--xa" * (MAX_BOUNDARIES - 1)
    assert read(iter([part("image", content) + b"--x--\r\n"])) == (content, {})
    with pytest.raises(MalformedBody, match="boundary too often"):
        read(iter([part("image", content + b"\r\n--xa") + b"--x--\r\n"]))


def test_a_text_may_be_as_long_as_the_body() -> None:
    """JSON bodies allow it as well."""
    long = b"a" * (2 * 2**20)
    assert read_parts(IMAGE, part("text", long))[1] == {"text": long.decode()}


@pytest.mark.parametrize(
    ("content", "header", "text"),
    [
        (b"YSBj\r\nYXQ=", b"Content-Transfer-Encoding: base64", "a cat"),
        (b"YSBjYXQ", b"content-transfer-encoding: BASE64", "a cat"),
        (b"caf=C3=a9 =\r\nx", b"Content-Transfer-Encoding: quoted-printable", "café x"),
        (b"a cat", b"Content-Transfer-Encoding: 8bit", "a cat"),
        (b"a cat", b"Content-Transfer-Encoding: binary", "a cat"),
        (b"caf\xe9", b"Content-Type: text/plain; charset=ISO-8859-1", "café"),
        (b"caf\xe9", b'Content-Type: text/plain; charset="windows-1252"', "café"),
        (b"c\0a\0t\0", b"Content-Type: text/plain; charset=utf-16le", "cat"),
        (b"\xef\xbb\xbfcat", b"Content-Type: text/plain; charset=utf-8", "cat"),
        (b'"a cat"', AS_JSON, "a cat"),
        (b'"caf\\u00e9"', b"Content-Type: application/json; charset=UTF-8", "café"),
        (b'"a cat"', b"Content-Type: application/vnd.api+json", "a cat"),
    ],
)
def test_a_text_is_decoded_by_the_headers_of_its_part(
    content: bytes, header: bytes, text: str
) -> None:
    """Otherwise the model would receive the encoded text, and the answer would be a 200."""
    assert read_parts(IMAGE, part("text", content, header))[1] == {"text": text}


@pytest.mark.parametrize(
    "charset",
    [
        "UTF-8",
        "utf8",
        "us-ascii",
        "ascii",
        "iso-8859-1",
        "iso8859-1",
        "iso_8859-1",
        "latin1",
        "latin-1",
        "iso-8859-15",
        "windows-1252",
        "cp1252",
        "utf-16",
        "utf-16le",
        "utf-16be",
    ],
)
def test_a_text_may_have_any_accepted_charset(charset: str) -> None:
    text = "a cat" if "ascii" in charset else "café"
    sent = part(
        "text", text.encode(charset), b"Content-Type: text/plain; charset=" + charset.encode()
    )
    assert read_parts(IMAGE, sent)[1] == {"text": text}


@pytest.mark.parametrize(
    ("content", "header"),
    [
        (base64.encodebytes(PNG), b"Content-Transfer-Encoding: base64"),
        (binascii.b2a_qp(PNG, istext=False), b"Content-Transfer-Encoding: quoted-printable"),
    ],
)
def test_a_picture_is_decoded_by_the_headers_of_its_part(content: bytes, header: bytes) -> None:
    assert read_parts(part("image", content, header)) == (PNG, {})


@pytest.mark.parametrize(
    ("content", "header", "message"),
    [
        (b"a cat", b"Content-Transfer-Encoding: x-uuencode", "Content-Transfer-Encoding"),
        (b"*", b"Content-Transfer-Encoding: base64", "base64"),
        (b"a=b", b"Content-Transfer-Encoding: quoted-printable", "quoted-printable"),
        (b"a cat", b"Content-Encoding: gzip", "Content-Encoding"),
        (b"a cat", b"Content-Type: text/plain; charset=punycode", "charset"),
        (b"a cat", AS_JSON, "not JSON"),
    ],
)
@pytest.mark.parametrize("name", ["text", "task", "regions"])
def test_an_unsupported_header_of_a_part_is_reported(
    name: str, content: bytes, header: bytes, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"{name}: .*{message}"):
        read_parts(IMAGE, part(name, content, header))


@pytest.mark.parametrize(
    ("name", "content", "value"),
    [
        ("regions", b'[{"boxes": [[1, 2, 3, 4]]}]', [{"boxes": [[1, 2, 3, 4]]}]),
        ("regions", b'"[]"', []),
        ("entities", b"[]", []),
        ("task", b'"brief_caption"', "brief_caption"),
        ("stream", b"true", True),
        ("max_new_tokens", b"64", "64"),
        ("regions", b"[Infinity]", [math.inf]),  # the validation reports the number
    ],
)
@pytest.mark.parametrize("disposition", [b"", BLOB])
def test_a_field_may_be_sent_as_typed_json(
    name: str, content: bytes, value: Any, disposition: bytes
) -> None:
    """A browser gives every typed part the file name `blob`."""
    sent = part(name, content, AS_JSON, disposition=disposition)
    assert read_parts(IMAGE, sent)[1] == {name: value}


def test_null_as_typed_json_counts_as_not_sent() -> None:
    assert read_parts(IMAGE, part("text", b"null", AS_JSON))[1] == {}


@pytest.mark.parametrize("kind", [b"text/plain;charset=utf-8", b"application/octet-stream"])
def test_a_field_may_be_sent_as_a_file_of_text(kind: bytes) -> None:
    """`curl -F task=@file` sends the line's end, and editors a byte-order mark."""
    content = b"\xef\xbb\xbfbrief_caption\r\n"
    sent = part("task", content, b"Content-Type: " + kind, disposition=b'; filename="task.txt"')
    assert read_parts(IMAGE, sent)[1] == {"task": "brief_caption"}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            (part("content", PNG, disposition=BLOB),),
            "content: is not a field .* in the field image",
        ),
        ((part("file", PNG),), "file: is not a field .* in the field image"),
        ((IMAGE, part("mask", b"x", disposition=BLOB)), "mask: is not a field"),
        ((part("image", b"", disposition=b'; filename="a.jpg"'),), "image: is empty"),
        ((part("image", b""),), "image: is empty"),
        ((part("image", b"[object Object]"),), "image: must be the bytes of a file"),
        ((part("image", base64.b64encode(PNG)),), "send base64 in a JSON body"),
        ((part("task", b"raw"),), "image: is required"),
        ((IMAGE, part("text", PNG, disposition=BLOB)), "text: must be a text, not a file"),
    ],
)
def test_an_error_names_the_wrong_part(parts: tuple[bytes, ...], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        read_parts(*parts)


def test_bytes_that_are_not_text_are_reported_with_their_field() -> None:
    with pytest.raises(MalformedBody, match="the field text is not UTF-8"):
        read_parts(IMAGE, part("text", b"caf\xe9"))
