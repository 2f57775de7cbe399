"""What an answer is written to: the connection, whose end is not the answer's to decide."""

import asyncio
from collections.abc import Callable


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
