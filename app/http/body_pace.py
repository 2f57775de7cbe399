"""Limits how slowly a body may arrive: no long pauses, and a minimum average rate."""

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.types import Message, Receive

from app.errors import DeadlineExceeded, RequestTimeout

MIN_BYTES_PER_S = 1024
"""Below the rate of the slowest mobile networks, far above a client that stalls on purpose."""


def with_body_pace(
    request: Request, timeout_s: float, deadline: float, clock: Callable[[], float]
) -> Request:
    """Return the request; reading its body raises an error when the body arrives too slowly.

    A slow but steady sender is served until the deadline: before that, only a pause of `timeout_s`,
    or a delay of `timeout_s` against `MIN_BYTES_PER_S`, raises `RequestTimeout`.

    Args:
        request: its body must not have been read.
        timeout_s: also limits the time to the first byte, seconds.
        deadline: of the request, in seconds on `clock`.
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
            RequestTimeout: the client paused too long or sends too slowly.
            DeadlineExceeded: the deadline passed before the message arrived.
        """
        ends_at = min(self._ends_at, self._deadline)
        try:
            async with asyncio.timeout(min(self._timeout_s, ends_at - self._clock())):
                message = await self._receive()
        except TimeoutError:
            if self._clock() >= self._deadline:
                raise DeadlineExceeded("the answer was not complete in time") from None
            raise RequestTimeout(
                f"the body arrived too slowly: send at least {MIN_BYTES_PER_S:,} bytes per second, "
                f"without pauses of {self._timeout_s:g} s"
            ) from None
        # Every byte earns time, so a steady sender never runs out of it.
        self._ends_at += len(message.get("body", b"")) / MIN_BYTES_PER_S
        return message
