"""What an answer is written to: the connection, whose end is not the answer's to decide."""

import asyncio
from collections.abc import Callable

_CHUNKED = b"\r\ntransfer-encoding: chunked\r\n"


class AnswerTransport:
    """As much of a transport as uvicorn's answer to a request uses.

    uvicorn closes a connection behind the last byte of an answer that ends it. Here that is asked
    of the protocol, which knows whether the client still sends.

    Args:
        transport: of the connection.
        end: is asked to end the connection.
    """

    def __init__(self, transport: asyncio.Transport, end: Callable[[], None]) -> None:
        self._transport, self._end = transport, end
        self._has_ended = False

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._transport.write(data)

    def is_closing(self) -> bool:
        """Whether nothing may be written any more."""
        return self._has_ended or self._transport.is_closing()

    def close(self) -> None:
        """Behind the last byte of the answer."""
        self._has_ended = True
        self._end()


class UnchunkedTransport(AnswerTransport):
    """Takes the chunks off an answer: HTTP/1.0 knows none (RFC 9112, section 6.1).

    The end of the connection is then the end of the answer. uvicorn writes the headers first, and
    after them one chunk at a time.
    """

    _has_headers = _is_chunked = False

    def write(self, data: bytes) -> None:
        """Send bytes, without the size of a chunk before them and the line end after them."""
        if not self._has_headers:
            self._has_headers, self._is_chunked = True, _CHUNKED in data
            data = data.replace(_CHUNKED, b"\r\n")
        elif self._is_chunked:
            size, _, rest = data.partition(b"\r\n")
            data = rest[: int(size or b"0", 16)]
        super().write(data)
