"""Client of the engine in an HTTP process: sends requests, delivers tokens, cancels requests.

Every request ends here exactly once: with its last token, with an error, or because its caller
cancels it. When the engine dies, the client sends its requests to the next one (docs/adr/0011).
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Collection, Iterator
from contextlib import contextmanager, suppress
from itertools import count

import msgspec
import zmq

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
    HoldPicture,
    NewToken,
    NewTokens,
    ReleasePicture,
    SamplingParameters,
    decode_from_engine,
    encode,
)
from app.ipc.pending_request import HeldPicture, PendingRequest, Prompt
from app.ipc.shared_state import SharedState
from app.telemetry.logs import get_logger

_KEY_BITS = 62  # keys count up from a random number, so that no two processes use the same keys


class EngineClient:
    """Communicates with the engine over a DEALER socket; one object per HTTP process.

    Args:
        endpoint: ZeroMQ address of the engine.
        state: holds the engine's epoch.
    """

    def __init__(self, endpoint: str, state: SharedState) -> None:
        self.state = state
        self._pending: dict[int, PendingRequest] = {}
        self._keys = count(secrets.randbits(_KEY_BITS))
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.SNDHWM, 0)  # so that no message waits for the engine
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoint)

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """Deliver every message of the engine to its request during the block."""
        # The sockets of `zmq.asyncio` take several times as long per message.
        loop, descriptor = asyncio.get_running_loop(), self._socket.fileno()
        loop.add_reader(descriptor, self._deliver_arrived)
        try:
            yield
        finally:
            loop.remove_reader(descriptor)

    async def generate(
        self, prompt: Prompt, sampling: SamplingParameters, deadline: float
    ) -> AsyncGenerator[NewToken]:
        """Yield the tokens that continue a prompt; the last one has a finish reason.

        If the caller stops the iteration early, by an exception or a cancellation, the engine
        releases the request's slot by its next step. Close the iterator (`contextlib.aclosing`) to
        do so without delay.

        Args:
            deadline: seconds on the monotonic clock.

        Raises:
            DeadlineExceeded: the deadline passed.
            Overloaded: the engine's queue is full.
            EngineFailure: the engine failed on this request alone.
            Unavailable: no engine can be kept running, or the service stops.
        """
        pending = PendingRequest(next(self._keys), prompt, sampling, deadline)
        self._pending[pending.key] = pending
        try:
            if self.state.is_engine_ready:  # otherwise `on_engine_ready` sends it
                self._send_request(pending, self.state.epoch)
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
                self._send(encode(Cancel(pending.epoch, pending.key)))

    def new_group(self) -> int:
        """Return a key for the prompts of one HTTP request."""
        return next(self._keys)

    @contextmanager
    def hold(self, pixels: bytes, digest: bytes, deadline: float) -> Iterator[HeldPicture]:
        """Keep a picture at the engine during the block; it crosses once per engine.

        Args:
            pixels: 224×224×3 bytes.
            digest: SHA-256 of `pixels`.
            deadline: seconds on the monotonic clock.
        """
        held = HeldPicture(next(self._keys), pixels, digest, deadline)
        try:
            yield held
        finally:
            if held.epoch:
                self._send(encode(ReleasePicture(held.epoch, held.key)))

    def on_engine_ready(self, epoch: int, suspects: Collection[int]) -> None:
        """Send all requests that no running engine has to a new engine.

        Args:
            epoch: epoch of the new engine.
            suspects: keys of the requests that ran when the last engine died.
        """
        for pending in self._pending.values():
            if pending.epoch >= epoch:
                continue
            if pending.key in suspects:
                pending.mark_suspect(len(suspects))
            if not pending.is_over:
                self._send_request(pending, epoch)

    def end_all(self, error: Kosmos2Error) -> None:
        """End every request with `error`, before the process stops."""
        for pending in self._pending.values():
            pending.end(error)

    def close(self) -> None:
        """Close the connection; no request may be pending."""
        self._context.destroy(linger=0)

    def _send_request(self, pending: PendingRequest, epoch: int) -> None:
        message, held = encode(pending.message_for(epoch)), pending.prompt.held_picture
        if held is None:
            self._send(message, pending.prompt.pixels)
            return
        if held.epoch < epoch:
            held.epoch = epoch
            self._send(
                encode(HoldPicture(epoch, held.key, held.digest, held.deadline)), held.pixels
            )
        self._send(message)

    def _send(self, *frames: bytes) -> None:
        # Sent as a copy: without one, ZeroMQ starts a thread that opens files, and aborts the
        # process when no file descriptors are left.
        self._socket.send_multipart(frames)
        # Sending may reset the descriptor that announces messages.
        self._deliver_arrived()

    def _deliver_arrived(self) -> None:
        with suppress(zmq.Again):
            while True:
                self._deliver(self._socket.recv(zmq.NOBLOCK))

    def _deliver(self, frame: bytes) -> None:
        try:
            message = decode_from_engine(frame)
        except msgspec.DecodeError:
            get_logger().error("invalid message dropped")
            return
        if isinstance(message, Failure):
            self._fail(message)
        else:
            self._deliver_tokens(message)

    def _deliver_tokens(self, message: NewTokens) -> None:
        for new_token in message.tokens:
            pending = self._pending.get(new_token.key)
            # A late token of a dead engine would repeat one of its successor.
            if pending is not None and pending.epoch == message.epoch:
                pending.add_token(new_token)

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
