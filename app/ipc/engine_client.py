"""An HTTP process's side of the engine: sends requests, hands out tokens, cancels what is left.

Every request that was sent ends here exactly once: with its last token, with an error, or by its
caller leaving. When the engine dies, the next one is asked to go on (docs/adr/0011).
"""

import secrets
from collections.abc import AsyncGenerator, Collection
from itertools import count

import msgspec
import zmq
import zmq.asyncio

from app.errors import (
    DeadlineExceeded,
    EngineFailure,
    Kosmos2Error,
    Overloaded,
)
from app.ipc.engine_messages import (
    Cancel,
    Failure,
    FailureReason,
    NewToken,
    NewTokens,
    SamplingParameters,
    decode_from_engine,
    encode,
)
from app.ipc.pending_request import PendingRequest, Prompt
from app.ipc.shared_state import SharedState
from app.telemetry.logs import get_logger

_KEY_BITS = 62  # keys are counted up from a random one, so that processes do not share any


class EngineClient:
    """Speaks to the engine over a DEALER socket; one for each HTTP process.

    Args:
        endpoint: where the engine listens.
        state: holds the engine's epoch.
    """

    def __init__(self, endpoint: str, state: SharedState) -> None:
        self.state = state
        self._pending: dict[int, PendingRequest] = {}
        self._keys = count(secrets.randbits(_KEY_BITS))
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoint)

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
            EngineFailure: the engine failed on this request, and on it alone.
            Unavailable: no engine can be kept alive, or the service stops.
        """
        pending = PendingRequest(next(self._keys), prompt, sampling, deadline)
        self._pending[pending.key] = pending
        try:
            if self.state.is_engine_ready:  # else it is sent when the engine is
                await self._send(pending, self.state.epoch)
            while True:
                event = await pending.events.get()
                if isinstance(event, Kosmos2Error):
                    raise event
                yield event
                if event.finish_reason is not None:
                    return
        except EngineFailure as failure:
            get_logger().error("engine failure", detail=str(failure))
            raise
        finally:
            del self._pending[pending.key]
            if not pending.is_over:
                pending.is_over = True
                self._socket.send(encode(Cancel(pending.epoch, pending.key)))

    async def receive(self) -> None:
        """Hand every message of the engine to its request, for as long as the process lives."""
        while True:
            try:
                message = decode_from_engine(await self._socket.recv())
            except msgspec.DecodeError:
                get_logger().error("invalid message dropped")
                continue
            if isinstance(message, Failure):
                self._fail(message)
            else:
                self._hand_out(message)

    async def on_engine_ready(self, epoch: int, suspects: Collection[int]) -> None:
        """An engine is ready: ask it for all that no engine has, or one that is gone.

        Args:
            epoch: of the new engine.
            suspects: keys of the requests that ran when the last engine died.
        """
        for pending in list(self._pending.values()):
            if pending.epoch >= epoch:
                continue
            if pending.key in suspects:
                pending.suspect(len(suspects))
            if not pending.is_over:
                await self._send(pending, epoch)

    def end_all(self, error: Kosmos2Error) -> None:
        """End every request, since the process is about to stop."""
        for pending in self._pending.values():
            pending.end(error)

    def close(self) -> None:
        """Close the connection; nothing may be pending."""
        self._context.destroy(linger=0)

    async def _send(self, pending: PendingRequest, epoch: int) -> None:
        # Copied: else the library starts a thread with files of its own, and ends the process when
        # there are no descriptors left for them.
        frames = [encode(pending.message_for(epoch)), pending.prompt.pixels]
        await self._socket.send_multipart(frames)

    def _hand_out(self, message: NewTokens) -> None:
        for new_token in message.tokens:
            pending = self._pending.get(new_token.key)
            if pending is not None and pending.epoch == message.epoch:
                pending.take(new_token)

    def _fail(self, message: Failure) -> None:
        pending = self._pending.get(message.key)
        if pending is not None and pending.epoch == message.epoch:
            pending.end(_as_error(message.reason))


def _as_error(reason: FailureReason) -> Kosmos2Error:
    if reason == "deadline":
        return DeadlineExceeded("the answer was not complete in time")
    if reason == "overloaded":
        return Overloaded("the engine's queue is full")
    return EngineFailure("the engine failed on this request")
