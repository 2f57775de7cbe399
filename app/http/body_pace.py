"""How slowly a body may arrive: without long pauses, and at a least rate on average."""

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.types import Message, Receive

from app.errors import DeadlineExceeded, RequestTimeout

MIN_BYTES_PER_S = 1024
"""Less than the slowest mobile networks send, much more than a client that only holds a place."""


def with_body_pace(
    request: Request, timeout_s: float, deadline: float, clock: Callable[[], float]
) -> Request:
    """Return the request with a body that raises an error when it arrives too slowly.

    A slow but steady sender is served until the deadline: before that, only a pause of `timeout_s`,
    or falling `timeout_s` behind `MIN_BYTES_PER_S`, raises `RequestTimeout`.

    Args:
        request: whose body has not been read.
        timeout_s: also the time to the first byte, seconds.
        deadline: of the request, by the clock.
        clock: monotonic, seconds.
    """
    return Request(request.scope, _PacedBody(request.receive, timeout_s, deadline, clock).receive)


class _PacedBody:
    def __init__(
        self, receive: Receive, timeout_s: float, deadline: float, clock: Callable[[], float]
    ) -> None:
        self._receive, self._timeout_s = receive, timeout_s
        self._deadline, self._clock = deadline, clock
        self._ends_at = clock() + timeout_s

    async def receive(self) -> Message:
        """Return the next message of the client.

        Raises:
            RequestTimeout: it did not arrive in time.
            DeadlineExceeded: it did not arrive before the deadline.
        """
        ends_at = min(self._ends_at, self._deadline)
        try:
            async with asyncio.timeout(min(self._timeout_s, ends_at - self._clock())):
                message = await self._receive()
        except TimeoutError:
            if self._clock() >= self._deadline:
                raise DeadlineExceeded("the answer was not complete in time") from None
            raise RequestTimeout("the body was not complete in time") from None
        self._ends_at += len(message.get("body", b"")) / MIN_BYTES_PER_S
        return message
