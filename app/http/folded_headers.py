"""Joins the lines of part headers that were folded over several lines."""

import re
from collections.abc import Iterator

_FOLD = re.compile(rb"(?<=.)\r\n[ \t]+", re.DOTALL)
_END = b"\r\n\r\n"
_MAX_BYTES = 2**16
"""Of the headers of a part: more than the parser accepts, so that it reports an excess."""


class HeaderUnfolder:
    r"""Copies a `multipart/form-data` body and joins folded headers (RFC 5322, section 2.2.3).

    Programs that build a form with a library for mail fold long headers; the parser of forms
    rejects them. The contents of parts do not change.

    >>> unfolder = HeaderUnfolder(b"B")
    >>> body = b'--B\r\nA: 1;\r\n 2\r\n\r\ncontent\r\n content\r\n--B--'
    >>> b"".join([*unfolder.unfold(body), unfolder.rest()])
    b'--B\r\nA: 1; 2\r\n\r\ncontent\r\n content\r\n--B--'
    """

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary + b"\r\n"
        self._mark = self._delimiter[2:]  # the first delimiter has no line before it
        self._held = b""

    def unfold(self, data: bytes) -> Iterator[bytes]:
        """Yield the next pieces of the copy; hold back what the next call decides."""
        start = max(0, len(self._held) - len(self._mark) + 1)
        data = self._held + data
        while (at := data.find(self._mark, start)) >= 0:
            is_header_end = self._mark is _END
            cut = at + len(self._mark) - (0 if is_header_end else 2)
            yield _FOLD.sub(b" ", data[:cut]) if is_header_end else data[:cut]
            data, start = data[cut:], 0
            self._mark = self._delimiter if is_header_end else _END
        if self._mark is _END and len(data) > _MAX_BYTES:
            self._mark = self._delimiter
        num_held = len(data) if self._mark is _END else len(self._mark) - 1
        split = max(0, len(data) - num_held)
        self._held = data[split:]
        yield data[:split]

    def rest(self) -> bytes:
        """Return the bytes that are still held back at the end of the body."""
        return self._held
