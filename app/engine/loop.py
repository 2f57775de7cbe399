"""The engine's loop: receives requests from HTTP processes, steps the model, sends tokens back.

`Engine.step` is the core of the service; `app/engine/process.py` builds its parts.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec
import zmq

from app.checkpoint.picture_size import PICTURE_BYTES
from app.engine.choices import ChosenToken
from app.engine.held_pictures import HeldPictures
from app.engine.phases import Clock, PhaseClock
from app.engine.runner import Runner
from app.engine.scheduler import Scheduler
from app.engine.sequence import Sequence
from app.engine.service_rate import ServiceRate
from app.engine.step_metrics import StepMetrics
from app.ipc.engine_messages import (
    MAX_NAMED_TOKENS,
    Cancel,
    Failure,
    FailureReason,
    FromEngine,
    Generate,
    HoldPicture,
    NewToken,
    NewTokens,
    ReleasePicture,
    decode_to_engine,
    encode,
)
from app.ipc.shared_state import SharedState
from app.telemetry.logs import get_logger
from app.telemetry.metrics import EngineMetrics

Pass = Callable[[list[Sequence]], list[ChosenToken]]
Result = TypeVar("Result")


class Engine:
    """Moves requests from waiting to running to finished, one step at a time.

    Args:
        scheduler: schedules over the runner's slots.
        socket: a bound ROUTER socket with `ROUTER_MANDATORY`.
        parent_pipe: file descriptor that becomes readable when the supervisor has ended.
        state: receives the running requests and the rate; holds the epoch of this engine.
        clock: monotonic clock in seconds.
    """

    def __init__(
        self,
        runner: Runner,
        scheduler: Scheduler,
        socket: "zmq.Socket[bytes]",
        parent_pipe: int,
        state: SharedState,
        phases: PhaseClock,
        metrics: EngineMetrics,
        clock: Clock,
    ) -> None:
        self._runner, self._scheduler, self._socket = runner, scheduler, socket
        self._parent_pipe, self._state, self._phases = parent_pipe, state, phases
        self._metrics = StepMetrics(metrics, runner, scheduler, clock)
        self._clock, self._epoch = clock, state.epoch
        self._rate = ServiceRate()
        self._held = HeldPictures(runner.pictures)
        self._ended_clients: set[bytes] = set()
        self._poller = zmq.Poller()
        self._poller.register(socket, zmq.POLLIN)
        self._poller.register(parent_pipe, zmq.POLLIN)

    def serve(self) -> None:
        """Step while there is work, otherwise wait, until the parent's pipe closes."""
        self._metrics.count_sequences()
        while self.receive():
            if not self._scheduler.is_idle:
                self.step()

    def step(self) -> None:
        """Read each row's next tokens, launch the next pass, and send the tokens while it runs."""
        began = self._clock()
        self._fail(self._scheduler.expire(began), "deadline")
        self._held.expire(began)
        new_tokens = self._run(self._runner.decode, self._decoding())
        finished = self._scheduler.finish()
        self._cancel_ended_clients()
        self._scheduler.close_gaps()
        self._attempt(self._runner.launch, self._decoding())
        self._send_tokens(new_tokens)
        starting = self._start(began)
        first_tokens = self._run(self._runner.prefill, starting)
        finished += self._scheduler.finish()
        self._send_tokens(first_tokens)
        self._metrics.count_step(starting, new_tokens, finished, began)
        self._publish_rate(finished, began)

    def _start(self, now: float) -> list[Sequence]:
        """Admit sequences; return the running ones whose pictures are encoded, with slots."""
        prefixes = self._runner.prefixes
        prefixes.collect()
        admitted = self._scheduler.admit(now, can_encode=not prefixes.is_busy)
        self._state.set_running([s.request.key for s in self._scheduler.running])
        prefixes.begin(admitted)
        if not (self._ready() or self._decoding()):
            prefixes.wait()  # otherwise the loop would spin until the pictures are encoded
        ready = self._ready()
        self._scheduler.assign_slots(ready)
        return ready

    def _ready(self) -> list[Sequence]:
        """Return the running sequences that can be prefilled now."""
        running, is_ready = self._scheduler.running, self._runner.prefixes.is_ready
        return [s for s in running if not s.first_token_at and is_ready(s)]

    def _decoding(self) -> list[Sequence]:
        """Return the running sequences that have been prefilled."""
        return [sequence for sequence in self._scheduler.running if sequence.first_token_at]

    def _run(self, run_pass: Pass, sequences: list[Sequence]) -> list[tuple[bytes, NewToken]]:
        """Run a pass and append its tokens to the sequences; return the messages for clients."""
        chosen = self._attempt(run_pass, sequences) or []
        self._fail_invalid([choice.sequence for choice in chosen if not choice.is_valid])
        return self._append_tokens(choice for choice in chosen if choice.is_valid)

    def _attempt(
        self, run_pass: Callable[[list[Sequence]], Result], sequences: list[Sequence]
    ) -> Result | None:
        """Run a pass; if it fails, requeue or fail its sequences and return `None`."""
        try:
            return run_pass(sequences)
        except Exception:
            get_logger().exception("pass failed", num_sequences=len(sequences))
            if not self._runner.recover():
                raise  # ends this process; the supervisor starts a new engine
            self._retry(sequences)
            return None

    def _fail_invalid(self, sequences: list[Sequence]) -> None:
        """Fail sequences whose logits were not finite; clear their slots and cached pictures."""
        if sequences:
            get_logger().error("logits not finite", num_sequences=len(sequences))
            self._runner.discard(sequences)
            self._fail(self._scheduler.cancel([s.name for s in sequences]), "engine_failure")

    def _retry(self, sequences: list[Sequence]) -> None:
        """Requeue the sequences of a failed pass with half the batch limit, or fail a lone one.

        So a batch that is too large for the memory becomes smaller batches, and a request that
        makes every pass fail is rejected alone.
        """
        if len(sequences) == 1 and sequences[0].max_running == 1:
            failed = self._scheduler.cancel([sequences[0].name])
            self._fail(failed, "engine_failure")
        else:
            self._scheduler.requeue(sequences)

    def _append_tokens(self, chosen: Iterable[ChosenToken]) -> list[tuple[bytes, NewToken]]:
        """Append the new tokens to their sequences; return each client with its message."""
        now, messages = self._clock(), []
        for choice in chosen:
            sequence = choice.sequence
            sequence.append(choice.token_id, self._is_end)
            if not sequence.first_token_at:
                sequence.first_token_at = now
            new_token = NewToken(
                key=sequence.request.key,
                token_id=choice.token_id,
                log_probability=choice.log_probability,
                finish_reason=sequence.finish_reason,
                queue_s=sequence.started_at - sequence.arrived_at,
                cached_tokens=sequence.num_cached_tokens,
                vision_s=sequence.vision_s,
                location=choice.location,
                named_log_probabilities=list(choice.named_log_probabilities),
            )
            messages.append((sequence.client, new_token))
        return messages

    def _is_end(self, token_id: int) -> bool:
        return token_id in self._runner.model.end_token_ids

    def receive(self) -> bool:
        """Handle all pending messages; wait for one if idle; return false if the parent ended."""
        if self._scheduler.is_idle:
            self._scheduler.check()
            self._state.set_running([])
            self._phases.rest()
        wait_ms = self._phases.max_rest_ms if self._scheduler.is_idle else 0
        events = dict(self._poller.poll(wait_ms))
        if self._parent_pipe in events:
            return False
        while self._socket.poll(0):
            self._accept(self._socket.recv_multipart())
        return True

    def _accept(self, frames: list[bytes]) -> None:
        """Queue or cancel a request; drop and log frames that are not a message."""
        try:
            client, message = frames[0], decode_to_engine(frames[1])
        except (IndexError, msgspec.DecodeError):
            get_logger().error("invalid message dropped", num_frames=len(frames))
            return
        if message.epoch != self._epoch:
            return  # for an earlier engine; its client sends pending requests again
        pixels = b"".join(frames[2:])
        self._metrics.count_message(message, len(pixels))
        if isinstance(message, Cancel):
            self._scheduler.cancel([(client, message.key)])
        elif isinstance(message, HoldPicture):
            self._held.hold(client, message, pixels)
        elif isinstance(message, ReleasePicture):
            self._held.release(client, message.key)
        else:
            self._add(client, message, pixels)
        self._metrics.count_sequences()

    def _add(self, client: bytes, request: Generate, pixels: bytes) -> None:
        if request.held_picture is not None:
            pixels = self._held.pixels(client, request.held_picture)
        sequence = Sequence(client, request, pixels, arrived_at=self._clock())
        if len(pixels) != PICTURE_BYTES or not self._fits(request):
            self._fail([sequence], "engine_failure")
        elif not (request.is_replay or self._scheduler.can_add(sequence)):
            self._fail([sequence], "overloaded")
        else:
            self._scheduler.add(sequence)

    def _fits(self, request: Generate) -> bool:
        prefix = self._runner.model.prefix_token_ids
        return (
            request.token_ids[: len(prefix)] == prefix
            and len(request.token_ids) > len(prefix)
            and len(request.new_token_ids) < request.sampling.max_new_tokens
            and len(request.sampling.named_token_ids) <= MAX_NAMED_TOKENS
            and len(request.token_ids) + request.sampling.max_new_tokens
            <= self._runner.slots.max_length
        )

    def _fail(self, sequences: Iterable[Sequence], reason: FailureReason) -> None:
        for sequence in sequences:
            self._send(sequence.client, Failure(self._epoch, sequence.request.key, reason))

    def _send_tokens(self, outgoing: list[tuple[bytes, NewToken]]) -> None:
        if not outgoing:
            return
        # Before they are sent, so that the metrics include an answer that a client has.
        self._metrics.count_tokens(len(outgoing))
        by_client: dict[bytes, list[NewToken]] = defaultdict(list)
        for client, new_token in outgoing:
            by_client[client].append(new_token)
        for client, new_tokens in by_client.items():
            self._send(client, NewTokens(self._epoch, new_tokens))

    def _send(self, client: bytes, message: FromEngine) -> None:
        """Send to an HTTP process; note if the process no longer exists."""
        try:
            self._socket.send_multipart([client, encode(message)])
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._ended_clients.add(client)

    def _cancel_ended_clients(self) -> None:
        """Cancel the sequences of HTTP processes that no longer exist; call it before `close_gaps`.

        Not where a message cannot be sent: the step's new sequences need slots without gaps.
        """
        while self._ended_clients:
            client = self._ended_clients.pop()
            self._scheduler.cancel_client(client)
            self._held.release_client(client)

    def _publish_rate(self, finished: list[Sequence], began: float) -> None:
        rate = self._rate.count(len(finished), self._clock() - began)
        if finished:
            self._state.publish_rate(rate)
