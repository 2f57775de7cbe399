"""Splits a `multipart/form-data` body into its parts, in memory."""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import MalformedBody
from app.http.folded_headers import HeaderUnfolder

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS = 32  # larger than the number of fields, so that an unknown field is reported by name
MAX_BOUNDARIES = 1_000
"""Also of those inside contents, where they delimit nothing: the parser handles each in Python, and
a body full of them would occupy the process for seconds."""
_HAS_FILENAME = re.compile(r";\s*filename(?:\*\d*)?\*?\s*=", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """One part of a form.

    Attributes:
        headers: names are in lower case.
        content: still in the part's transfer encoding and charset.
    """

    name: str
    headers: Mapping[str, str]
    content: bytes

    @property
    def media_type(self) -> str:
        """The content type without parameters, in lower case; empty if the header is missing."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str:
        """The charset of the content type, in lower case; UTF-8 by default."""
        _, parameters = parse_options_header(self.headers.get("content-type"))
        return parameters.get(b"charset", b"utf-8").decode("latin-1").strip().lower()

    @property
    def is_file(self) -> bool:
        """Whether the part has a file name (`filename*` counts) or the type of an image."""
        has_filename = _HAS_FILENAME.search(self.headers.get("content-disposition", ""))
        return has_filename is not None or self.media_type.startswith("image/")


async def read_parts(content_type: str, stream: AsyncIterator[bytes]) -> list[Part]:
    """Return all parts of a body, in the order sent.

    Raises:
        MalformedBody: the body is not a valid multipart form, has too many parts, or is truncated.
    """
    _, parameters = parse_options_header(content_type)
    if b"boundary" not in parameters:
        raise MalformedBody("the Content-Type of the form lacks a boundary")
    boundary, num_boundaries = parameters[b"boundary"], 0
    collector = _Collector()
    try:
        parser = MultipartParser(boundary, collector.callbacks())
        unfolder = HeaderUnfolder(boundary)
        async for chunk in _without_preamble(stream, boundary):
            num_boundaries += chunk.count(b"\n--" + boundary)
            if num_boundaries > MAX_BOUNDARIES:
                raise MalformedBody("the body has its boundary too often; choose a longer one")
            for piece in unfolder.unfold(chunk):
                parser.write(piece)
        parser.write(unfolder.rest())
    except FormParserError:
        if collector.is_in_headers:
            raise MalformedBody("the headers of a part are malformed") from None
        raise MalformedBody("the body is not a valid multipart form") from None
    if not collector.is_complete:
        raise MalformedBody("the body ends before its last boundary")
    return collector.parts


async def _without_preamble(stream: AsyncIterator[bytes], boundary: bytes) -> AsyncIterator[bytes]:
    """Yield a body from its first delimiter; text before it has no meaning (RFC 2046, 5.1.1).

    Raises:
        MalformedBody: the body has no delimiter.
    """
    delimiter, held = b"\n--" + boundary, b"\n"  # most bodies begin with the delimiter
    async for chunk in stream:
        held += chunk
        start = held.find(delimiter) + 1
        if start > 0:
            yield held[start:]
            break
        held = held[-len(delimiter) :]
    else:
        raise MalformedBody("the body lacks the boundary that its Content-Type names")
    async for chunk in stream:
        yield chunk


class _Collector:
    """Collects the parts that the parser finds."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.is_complete = self.is_in_headers = False
        self._clear()

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._start_part,
            "on_header_field": self._add_header_name,
            "on_header_value": self._add_header_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add_content,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _start_part(self) -> None:
        if len(self.parts) == MAX_PARTS:
            raise MalformedBody(f"the form may have at most {MAX_PARTS} parts")
        self.is_in_headers = True
        self._clear()

    def _clear(self) -> None:
        self._headers: dict[str, str] = {}
        self._content = bytearray()
        self._start_header()

    def _start_header(self) -> None:
        self._header_name, self._header_value = bytearray(), bytearray()

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        name = self._header_name.decode("latin-1").lower()
        value = self._header_value.decode("latin-1").strip()
        # HTTP joins repeated headers in the same way.
        self._headers[name] = f"{self._headers[name]}, {value}" if name in self._headers else value
        self._start_header()

    def _end_headers(self) -> None:
        self.is_in_headers = False

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        self._content += memoryview(data)[start:end]

    def _end_part(self) -> None:
        _, parameters = parse_options_header(self._headers.get("content-disposition"))
        if b"name" not in parameters:
            message = "a part of the form lacks a name in its Content-Disposition"
            raise MalformedBody(message)
        name = parameters[b"name"].decode(errors="replace")
        self.parts.append(Part(name, self._headers, bytes(self._content)))

    def _end(self) -> None:
        self.is_complete = True
