"""Headers of a part that were folded over several lines, as Python's `email` writes them."""

import asyncio
import email.policy
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart

import pytest

from app.errors import MalformedBody
from app.http.folded_headers import HeaderUnfolder
from app.http.multipart import Part, read_parts

PICTURE = b"\x89PNG\r\n\0\r\n folded?\r\n\tno\r\n\r\n--"
FOLDED = (
    b"--x\r\nContent-Disposition: form-data;\r\n name=image;\r\n\tfilename=a.png\r\n"
    b"Content-Type: image/png\r\n\r\n" + PICTURE + b"\r\n"
    b"--x\r\nContent-Disposition: form-data;\r\n  name=task\r\n\r\nraw\r\n--x--\r\n"
)


def parts_of(body: bytes, size: int, boundary: str = "x") -> list[Part]:
    async def read() -> list[Part]:
        async def stream():
            for start in range(0, len(body), size):
                yield body[start : start + size]

        return await read_parts(f"multipart/form-data; boundary={boundary}", stream())

    return asyncio.run(read())


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10_000])
def test_folded_headers_are_joined_and_contents_are_not(size: int) -> None:
    image, task = parts_of(FOLDED, size)
    assert (image.name, image.is_file, image.media_type) == ("image", True, "image/png")
    assert image.content == PICTURE
    assert (task.name, task.content) == ("task", b"raw")


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_a_form_of_pythons_email_is_read(size: int) -> None:
    """It folds a header of more than 78 characters, unless its policy is that of HTTP."""
    form = MIMEMultipart("form-data", boundary="x")
    part = MIMEApplication(PICTURE, "octet-stream")
    del part["Content-Disposition"]
    part.add_header("Content-Disposition", "form-data", name="image", filename=f"{'a ' * 40}.png")
    form.attach(part)
    body = form.as_bytes(policy=email.policy.SMTP).partition(b"\r\n\r\n")[2]
    assert b";\r\n " in body
    (image,) = parts_of(body, size)
    assert (image.name, image.is_file) == ("image", True)


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize(
    "body",
    [
        b"--x\r\n\r\ncontent\r\n folded?\r\n--x--\r\n",  # no headers
        b"--x\r\nA: b\r\n\r\nfirst\r\n--x\r\n\r\nsecond\r\n x\r\n\r\n--x--\r\n",
        b"--xy\r\nA: b\r\n\r\n--x\r\nA: b\r\n c\r\n\r\n",
        b"",
        b"\r\n",
        b"no delimiter",
    ],
)
def test_a_body_without_folded_headers_is_copied(body: bytes, size: int) -> None:
    unfolder = HeaderUnfolder(b"xy" if body.startswith(b"--xy") else b"x")
    pieces = [
        piece
        for start in range(0, len(body), size)
        for piece in unfolder.unfold(body[start : start + size])
    ]
    assert b"".join([*pieces, unfolder.rest()]) == body


@pytest.mark.parametrize(
    "head", [b" folded: from nothing", b"A: " + b"b" * 100_000, b"A: b\r\n c\r\n" * 10_000]
)
def test_malformed_headers_are_rejected(head: bytes) -> None:
    with pytest.raises(MalformedBody, match="headers of a part are malformed"):
        parts_of(b"--x\r\n" + head + b"\r\n\r\ncontent\r\n--x--\r\n", 4096)
