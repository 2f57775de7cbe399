"""Forms: a picture is kept in memory alone."""

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
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


@contextmanager
def no_file_growing() -> Iterator[None]:
    """Let the system refuse every write to a file."""
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


def test_a_written_file_would_be_noticed() -> None:
    with no_file_growing(), TemporaryFile(buffering=0) as file, pytest.raises(OSError):
        file.write(b"x")


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_it_makes_no_difference_where_a_body_is_cut(size: int) -> None:
    """A network cuts where it likes, through boundaries too."""
    body = BODY.replace(PICTURE, b"\r\n--x\r-")
    parts = (body[start : start + size] for start in range(0, len(body), size))
    assert read(parts) == (b"\r\n--x\r-", {"task": "raw"})
