"""Reads a `multipart/form-data` body: the picture's bytes, and the fields as their texts mean."""

import sys
from collections import Counter
from contextlib import aclosing
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from app.contract.text_fields import fields_of_texts
from app.errors import FieldError, InvalidRequest, MalformedBody, UnsupportedMediaType

_MAX_FIELDS = 32  # more than there are, so that an unknown one is told by its name
_CHARSETS = (b"utf-8", b"utf8", b"us-ascii")


class _Parser(MultiPartParser):
    """Starlette's, but it writes nothing to a disk and reads texts as UTF-8 or not at all."""

    spool_max_size = sys.maxsize  # the limit of a body is the limit of memory
    is_complete = False

    def on_part_end(self) -> None:
        """A text of another encoding would be read as Latin-1."""
        if self._current_part.file is None:
            try:
                self._current_part.data.decode()
            except UnicodeDecodeError:
                raise MultiPartException("a field is not UTF-8") from None
        super().on_part_end()

    def on_end(self) -> None:
        """Behind the last boundary."""
        self.is_complete = True


async def read_form(request: Request) -> tuple[bytes, dict[str, Any]]:
    """The picture's bytes and the other fields.

    Raises:
        UnsupportedMediaType: its texts are not UTF-8.
        MalformedBody: the body is no multipart body, or has no end.
        InvalidRequest: a field is sent twice, or a text where a file belongs, or the reverse.
    """
    _, parameters = parse_options_header(request.headers["content-type"])
    # Python knows encodings that take minutes for a megabyte, and some that are none.
    if parameters.get(b"charset", b"utf-8").lower() not in _CHARSETS:
        raise UnsupportedMediaType("the charset of a form must be UTF-8")
    async with aclosing(request.stream()) as stream:
        parser = _Parser(request.headers, stream, max_files=2, max_fields=_MAX_FIELDS)
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise MalformedBody(error.message) from None
    try:
        if not parser.is_complete:
            raise MalformedBody("the body ends before its last boundary")
        return await _parse_form(form)
    finally:
        await form.close()


async def _parse_form(form: FormData) -> tuple[bytes, dict[str, Any]]:
    counts = Counter(name for name, _ in form.multi_items())
    duplicates = [FieldError(name, "is sent twice") for name, count in counts.items() if count > 1]
    if duplicates:
        raise InvalidRequest(duplicates[0].field, duplicates[0].message, *duplicates[1:])
    texts: dict[str, str] = {}
    image = b""
    for name, value in form.multi_items():
        if name == "image":
            image = await _read_image(value)
        elif isinstance(value, UploadFile):
            raise InvalidRequest(name, "must be a text, not a file")
        else:
            texts[name] = value
    if not image:
        raise InvalidRequest("image", "is required: a file")
    return image, fields_of_texts(texts)


async def _read_image(value: UploadFile | str) -> bytes:
    if not isinstance(value, UploadFile):
        raise InvalidRequest("image", "must be a file")
    return await value.read()
