"""Transports for uvicorn's answers that leave closing the connection to the protocol."""

import asyncio
from collections.abc import Callable

_CHUNKED = b"\r\ntransfer-encoding: chunked\r\n"


class AnswerTransport:
    """The part of a transport that uvicorn's answer to a request uses.

    uvicorn closes the transport after the last byte of an answer with `Connection: close`. Here,
    `close` calls `on_close` instead: the protocol knows whether the client still sends.
    """

    def __init__(self, transport: asyncio.Transport, on_close: Callable[[], None]) -> None:
        self._transport, self._on_close = transport, on_close
        self._has_ended = False

    def write(self, data: bytes) -> None:
        """Send bytes to the client."""
        self._transport.write(data)

    def is_closing(self) -> bool:
        """Return whether writing is over."""
        return self._has_ended or self._transport.is_closing()

    def close(self) -> None:
        """End the answer; the protocol decides when to close the connection."""
        self._has_ended = True
        self._on_close()


class UnchunkedTransport(AnswerTransport):
    """Removes the chunked encoding, which HTTP/1.0 does not have (RFC 9112, section 6.1).

    The end of the connection then marks the end of the answer. The class relies on uvicorn writing
    the headers in the first call, and exactly one chunk in each later call.
    """

    _has_headers = _is_chunked = False

    def write(self, data: bytes) -> None:
        """Send bytes, without the size of the chunk before them and the line end after them."""
        if not self._has_headers:
            self._has_headers, self._is_chunked = True, _CHUNKED in data
            data = data.replace(_CHUNKED, b"\r\n")
        elif self._is_chunked:
            size, _, rest = data.partition(b"\r\n")
            data = rest[: int(size or b"0", 16)]
        super().write(data)
