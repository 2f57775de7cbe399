"""Transports for uvicorn's answers that leave closing the connection to the protocol."""

import asyncio
from collections.abc import Callable

_CHUNKED = b"\r\ntransfer-encoding: chunked\r\n"
_CONTINUE = b"HTTP/1.1 100 "


class AnswerTransport:
    """The part of a transport that uvicorn's answer to a request uses.

    uvicorn closes the transport after the last byte of an answer with `Connection: close`. Here,
    `close` calls `on_close` instead: the protocol knows whether the client still sends.

    uvicorn writes the headers and the body separately. Here, the headers wait for the body, at most
    until the next turn of the event loop, so that one call of the system sends both, and the client
    wakes once.

    Args:
        on_close: called instead of closing the transport.
        has_body: whether the answer has a body.
    """

    def __init__(
        self, transport: asyncio.Transport, on_close: Callable[[], None], *, has_body: bool
    ) -> None:
        self._transport, self._on_close, self._has_body = transport, on_close, has_body
        self._has_begun = self._has_ended = False
        self._held = b""

    def write(self, data: bytes) -> None:
        """Send bytes to the client; hold the first ones, which are the headers."""
        if data.startswith(_CONTINUE):  # the client waits for it, and the headers follow later
            self._transport.write(data)
            return
        is_first, self._has_begun = not self._has_begun, True
        if is_first and self._has_body:
            self._held = data
            asyncio.get_running_loop().call_soon(self._send_held)
        else:
            self._held += data
            self._send_held()

    def _send_held(self) -> None:
        data, self._held = self._held, b""
        # asyncio would log a warning for each write after the client has disconnected.
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def is_closing(self) -> bool:
        """Return whether writing is over."""
        return self._has_ended or self._transport.is_closing()

    def close(self) -> None:
        """End the answer; the protocol decides when to close the connection."""
        self._send_held()
        self._has_ended = True
        self._on_close()


class UnchunkedTransport(AnswerTransport):
    """Removes the chunked encoding, which HTTP/1.0 does not have (RFC 9112, section 6.1).

    The end of the connection then marks the end of the answer. The class relies on uvicorn writing
    the headers in the first call, and exactly one chunk in each later call.
    """

    _is_chunked = False

    def write(self, data: bytes) -> None:
        """Send bytes, without the size of the chunk before them and the line end after them."""
        if not self._has_begun:
            self._is_chunked = _CHUNKED in data
            data = data.replace(_CHUNKED, b"\r\n")
        elif self._is_chunked:
            size, _, rest = data.partition(b"\r\n")
            data = rest[: int(size or b"0", 16)]
        super().write(data)
