"""Forms: a picture is kept in memory alone."""

import asyncio
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from app.http.forms import read_form

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


def test_no_picture_touches_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written there outlives the request, and a container may have none."""
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    parts = (BODY[start : start + 2**16] for start in range(0, len(BODY), 2**16))
    assert read(parts) == (PICTURE, {"task": "raw"})


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_it_makes_no_difference_where_a_body_is_cut(size: int) -> None:
    """A network cuts where it likes, through boundaries too."""
    body = BODY.replace(PICTURE, b"\r\n--x\r-")
    parts = (body[start : start + size] for start in range(0, len(body), size))
    assert read(parts) == (b"\r\n--x\r-", {"task": "raw"})
