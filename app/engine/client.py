"""An HTTP process's side of the engine: sends requests, hands out tokens, cancels what is left.

Every request that was sent ends here exactly once: with its last token, with an error, or by its
caller leaving, also when the engine dies or the process drains.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import msgspec
import zmq
import zmq.asyncio

from app.engine.messages import (
    Cancel,
    Failed,
    FailureReason,
    Generate,
    NewToken,
    NewTokens,
    SamplingParameters,
    decode_from_engine,
    encode,
)
from app.errors import (
    DeadlineExceeded,
    EngineFailure,
    Kosmos2Error,
    Overloaded,
    Unavailable,
)
from app.logs import get_logger
from app.shared_page import SharedPage

RESTART_S = 5
"""When a client is told to come back after the engine has died, seconds."""


@dataclass(frozen=True)
class Prompt:
    """What the engine continues.

    Attributes:
        token_ids: all of them, the picture's places included.
        pixels: the picture, 224×224×3 bytes.
        picture_digest: SHA-256 of `pixels`.
    """

    token_ids: list[int]
    pixels: bytes
    picture_digest: bytes


@dataclass(frozen=True)
class _Pending:
    """A request that has been sent and is not over."""

    epoch: int
    events: asyncio.Queue[NewToken | Kosmos2Error] = field(default_factory=asyncio.Queue)


class EngineClient:
    """Speaks to the engine over a DEALER socket; one for each HTTP process.

    Args:
        endpoint: where the engine listens.
        page: tells the engine's epoch and holds the permits.
        worker: this process's number among the HTTP processes, from 0.
    """

    def __init__(self, endpoint: str, page: SharedPage, worker: int) -> None:
        self.page = page
        self._worker = worker
        self._pending: dict[int, _Pending] = {}
        self._keys = count()
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoint)

    @contextmanager
    def permit(self) -> Iterator[None]:
        """Hold one of the service's places: to be taken before any work on a request.

        Raises:
            Unavailable: the engine is not ready, so there is no telling how many places there are.
            Overloaded: all places are taken.
        """
        if not self.page.is_engine_ready:
            raise Unavailable("the engine is starting", RESTART_S)
        if not self.page.acquire_permit(self._worker):
            raise Overloaded(f"all {self.page.num_places} places are taken")
        try:
            yield
        finally:
            self.page.release_permit(self._worker)

    async def generate(
        self, prompt: Prompt, sampling: SamplingParameters, deadline: float
    ) -> AsyncGenerator[NewToken]:
        """Yield the tokens that continue a prompt, the last one with its finish reason.

        Leaving the iteration early, by an exception or a cancellation, frees the request's slot by
        the engine's next step. Close the iterator (`contextlib.aclosing`) to leave without delay.

        Args:
            prompt: what to continue.
            sampling: how tokens are chosen.
            deadline: on the monotonic clock, seconds.

        Raises:
            DeadlineExceeded: it passed.
            Overloaded: the engine's queue is full.
            EngineFailure: the engine failed on this request or on one beside it.
            Unavailable: the engine died, or the service stops.
        """
        key, pending = next(self._keys), _Pending(self.page.epoch)
        self._pending[key] = pending
        is_over = False
        try:
            request = Generate(
                pending.epoch, key, prompt.token_ids, prompt.picture_digest, sampling, deadline
            )
            await self._socket.send_multipart([encode(request), prompt.pixels], copy=False)
            while not is_over:
                event = await pending.events.get()
                is_over = isinstance(event, Kosmos2Error) or event.finish_reason is not None
                if isinstance(event, Kosmos2Error):
                    raise event
                yield event
        finally:
            del self._pending[key]
            if not is_over:
                self._socket.send(encode(Cancel(pending.epoch, key)))

    async def receive(self) -> None:
        """Hand every message of the engine to its request, for as long as the process lives."""
        while True:
            try:
                message = decode_from_engine(await self._socket.recv())
            except msgspec.DecodeError:
                get_logger().error("message dropped")
                continue
            if isinstance(message, Failed):
                self._end(message.key, message.epoch, _as_error(message.reason))
            else:
                self._hand_out(message)

    def engine_stopped(self, epoch: int) -> None:
        """The engine of that epoch is gone: end what it was asked for."""
        for key, pending in list(self._pending.items()):
            if pending.epoch <= epoch:
                self._end(key, pending.epoch, Unavailable("the engine has stopped", RESTART_S))

    def end_all(self, error: Kosmos2Error) -> None:
        """End every request, since the process is about to stop."""
        for key, pending in list(self._pending.items()):
            self._end(key, pending.epoch, error)

    def close(self) -> None:
        """Close the connection; nothing may be pending."""
        self._context.destroy(linger=0)

    def _hand_out(self, message: NewTokens) -> None:
        for new_token in message.tokens:
            pending = self._pending.get(new_token.key)
            if pending is not None and pending.epoch == message.epoch:
                pending.events.put_nowait(new_token)

    def _end(self, key: int, epoch: int, error: Kosmos2Error) -> None:
        pending = self._pending.get(key)
        if pending is not None and pending.epoch == epoch:
            pending.events.put_nowait(error)


def _as_error(reason: FailureReason) -> Kosmos2Error:
    if reason == "deadline":
        return DeadlineExceeded("the answer was not complete in time")
    if reason == "overloaded":
        return Overloaded("the engine's queue is full")
    return EngineFailure("the engine failed on this request")
