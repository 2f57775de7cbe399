"""Drives the engine's loop by hand: a real socket, a real model, no thread."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq
from prometheus_client import CollectorRegistry

from app.checkpoint.files import open_checkpoint
from app.checkpoint.picture_size import PICTURE_BYTES
from app.engine.choices import ChosenToken
from app.engine.loop import Engine
from app.engine.phases import PhaseClock, PhaseTimer
from app.engine.process import build_runner
from app.engine.runner import Runner
from app.engine.scheduler import Scheduler, SchedulerLimits
from app.engine.sequence import Sequence
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_messages import (
    Cancel,
    Failure,
    FromEngine,
    Generate,
    NewToken,
    SamplingParameters,
    decode_from_engine,
    encode,
)
from app.ipc.pending_request import Prompt
from app.ipc.shared_state import SharedState
from app.settings import EMBEDDED_CHECKPOINT, Settings
from app.telemetry.metrics import EngineMetrics
from harness.checkpoints import tiny_config, write_random_checkpoint
from harness.recordings import record_operators
from harness.requests import prompt_of

# Not the first epoch, so that messages of earlier ones exist.
EPOCH = 3
NUM_SLOTS = 2
# The key of the marker that follows all other messages; tests use smaller keys.
MARKER_KEY = 99


class ManualClock:
    """A clock that only moves when a test sets it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class UnreliableRunner(Runner):
    """Fails on chosen requests, and on batches above a chosen size."""

    poisoned_keys: frozenset[int] = frozenset()
    fails_at_launch = False
    max_batch_size = NUM_SLOTS

    def prefill(self, sequences: list[Sequence]) -> list[ChosenToken]:
        if len(sequences) > self.max_batch_size:
            raise MemoryError("planted")
        return super().prefill(sequences)

    def decode(self, sequences: list[Sequence]) -> list[ChosenToken]:
        if not self.fails_at_launch:
            self._fail_if_poisoned(sequences)
        return super().decode(sequences)

    def launch(self, sequences: list[Sequence]) -> None:
        if self.fails_at_launch:
            self._fail_if_poisoned(sequences)
        super().launch(sequences)

    def _fail_if_poisoned(self, sequences: list[Sequence]) -> None:
        if any(sequence.request.key in self.poisoned_keys for sequence in sequences):
            raise RuntimeError("planted")


@dataclass
class EngineRig:
    """An engine connected to a client socket of the test."""

    engine: Engine
    scheduler: Scheduler
    runner: UnreliableRunner
    router: "zmq.Socket[bytes]"
    client: "zmq.Socket[bytes]"
    clock: ManualClock
    state: SharedState
    prompt: Prompt
    parent_pipe: int
    registry: CollectorRegistry

    def submit(
        self,
        key: int,
        *,
        epoch: int = EPOCH,
        max_new_tokens: int = 50,
        deadline: float = 1e9,
        sampling: SamplingParameters | None = None,
        picture: bytes | None = None,
        **replay: Any,
    ) -> None:
        """Send a request and let the engine read it.

        Args:
            epoch: of the engine that the request is addressed to.
            max_new_tokens: ignored if `sampling` is given.
            deadline: on the rig's clock.
            picture: 224×224×3 bytes; `None` for the default picture.
            replay: fields for a request that another engine has partly answered.
        """
        pixels = self.prompt.pixels if picture is None else picture
        request = Generate(
            epoch,
            key,
            self.prompt.token_ids,
            hashlib.sha256(pixels).digest(),
            sampling or SamplingParameters(max_new_tokens=max_new_tokens),
            deadline,
            **replay,
        )
        self.send(encode(request), pixels)

    def send_marker(self) -> None:
        """Send a request that is refused at once, as a marker after all earlier messages."""
        self.submit(MARKER_KEY, max_new_tokens=1000)

    def send(self, *frames: bytes) -> None:
        """Send frames and let the engine read them."""
        self.client.send_multipart(frames)
        assert self.router.poll(5000)  # ms
        self.engine.receive()

    def next_messages(self, count: int) -> list[FromEngine]:
        """Return the next messages."""
        return [self._next_message() for _ in range(count)]

    def run_until_idle(self) -> tuple[dict[int, list[int]], list[Failure]]:
        """Step until all requests are answered; return the token ids by key, and the failures."""
        answers, failed = self.new_tokens_until_idle()
        ids = {key: [token.token_id for token in tokens] for key, tokens in answers.items()}
        return ids, failed

    def new_tokens_until_idle(self) -> tuple[dict[int, list[NewToken]], list[Failure]]:
        """Step until all requests are answered; return the tokens by key, and the failures."""
        while not self.scheduler.is_idle:
            self.engine.step()
        tokens, failed = defaultdict[int, list[NewToken]](list), []
        self.send_marker()
        while (message := self._next_message()) != Failure(EPOCH, MARKER_KEY, "engine_failure"):
            if isinstance(message, Failure):
                failed.append(message)
                continue
            for token in message.tokens:
                tokens[token.key].append(token)
        return dict(tokens), failed

    def tokens_of(self, key: int) -> list[int]:
        """Return the nine tokens of a request that runs undisturbed."""
        self.submit(key, max_new_tokens=9)
        return self.run_until_idle()[0][key]

    def is_silent(self) -> bool:
        """Return whether no message arrives before the answer to a refused request."""
        self.send_marker()
        return self._next_message() == Failure(EPOCH, MARKER_KEY, "engine_failure")

    def _next_message(self) -> FromEngine:
        assert self.client.poll(5000)  # ms
        return decode_from_engine(self.client.recv())


def build_unreliable_runner(directory: Path, phases: PhaseTimer) -> UnreliableRunner:
    """Return a runner with random weights, which are written to a new directory."""
    write_random_checkpoint(directory, tiny_config(EMBEDDED_CHECKPOINT), EMBEDDED_CHECKPOINT)
    settings = Settings(model=str(directory), slots=NUM_SLOTS)
    checkpoint = open_checkpoint(settings.model)
    runner = build_runner(settings, checkpoint, phases, UnreliableRunner)
    assert isinstance(runner, UnreliableRunner)
    return runner


def with_recorded_passes(runner: UnreliableRunner, phases: PhaseTimer) -> UnreliableRunner:
    """Return a runner with the same weights that launches and replays passes as on CUDA."""
    recorded = UnreliableRunner(
        runner.model,
        NUM_SLOTS,
        2**28,  # bytes of the picture cache
        phases,
        is_rounded=True,
        in_background=False,
        max_pictures=4,
        draft_next=runner.draft_next,
    )
    recorded.record_passes(record_operators)
    return recorded


@contextmanager
def open_rig(runner: UnreliableRunner, directory: Path) -> Iterator[EngineRig]:
    """Open a rig around a runner, with room for one waiting request."""
    clock, (parent_pipe, held) = ManualClock(), os.pipe()
    limits = SchedulerLimits(max_waiting=1, max_prefill_tokens=2048, max_pictures=4)
    scheduler = Scheduler(runner.slots, limits, runner.pictures.__contains__)
    registry = CollectorRegistry()
    metrics = EngineMetrics(registry)
    state = SharedState(directory / "state")
    while state.epoch < EPOCH:
        state.begin_epoch()
    phases = PhaseClock(state, metrics, clock)
    with zmq.Context() as context:
        router, dealer = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
        # As in the service: otherwise ZeroMQ drops messages to an unknown client silently.
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        router.bind(f"ipc://{directory}/socket")
        dealer.connect(f"ipc://{directory}/socket")
        engine = Engine(runner, scheduler, router, parent_pipe, state, phases, metrics, clock)
        tokenizer = Kosmos2Tokenizer.load(EMBEDDED_CHECKPOINT)
        prompt = prompt_of(tokenizer, "<grounding> An image of", bytes(PICTURE_BYTES))
        rig = EngineRig(
            engine, scheduler, runner, router, dealer, clock, state, prompt, held, registry
        )
        # Blocks until both sockets are connected; the engine ignores a request of an older epoch.
        dealer.send_multipart([encode(Cancel(EPOCH - 1, 0))])
        engine.receive()
        yield rig
        # Tests share the runner, so its slots must be free again.
        scheduler.cancel([s.name for s in (*scheduler.running, *scheduler.waiting)])
        router.close(linger=0)
        dealer.close(linger=0)
    for descriptor in (parent_pipe, held):
        os.close(descriptor)
