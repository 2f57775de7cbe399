"""The engine's loop, driven by hand: real messages over a real socket, a real model, no thread."""

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq
from prometheus_client import CollectorRegistry

from app.checkpoint import open_checkpoint
from app.engine.messages import (
    Cancel,
    Failed,
    FromEngine,
    Generate,
    NewToken,
    NewTokens,
    SamplingParameters,
    decode_from_engine,
    encode,
)
from app.engine.pending import Prompt
from app.engine.phases import PhaseClock
from app.engine.process import Engine
from app.engine.runner import ChosenToken, Runner
from app.engine.scheduler import Scheduler, SchedulerLimits
from app.engine.sequence import Sequence
from app.engine.start import build_runner
from app.metrics import EngineMetrics
from app.settings import EMBEDDED_CHECKPOINT, Settings
from app.shared_page import SharedPage
from app.tokenizer import Kosmos2Tokenizer
from tests.support.checkpoints import tiny_config, write_random_checkpoint
from tests.support.requests import prompt_of

EPOCH = 3
NUM_SLOTS = 2
LAST = 99


class HandClock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class UnreliableRunner(Runner):
    """Fails on the requests it is told to, and on batches larger than it is told."""

    poisoned_keys: frozenset[int] = frozenset()
    max_batch_size = NUM_SLOTS

    def prefill(self, sequences: list[Sequence]) -> list[ChosenToken]:
        if len(sequences) > self.max_batch_size:
            raise MemoryError("planted")
        return super().prefill(sequences)

    def decode(self, sequences: list[Sequence]) -> list[ChosenToken]:
        if any(sequence.request.key in self.poisoned_keys for sequence in sequences):
            raise RuntimeError("planted")
        return super().decode(sequences)


@dataclass
class Bench:
    """An engine between a client's socket and the test."""

    engine: Engine
    scheduler: Scheduler
    runner: UnreliableRunner
    router: "zmq.Socket[bytes]"
    client: "zmq.Socket[bytes]"
    clock: HandClock
    page: SharedPage
    prompt: Prompt
    leash: int

    def ask(
        self,
        key: int,
        *,
        epoch: int = EPOCH,
        max_new_tokens: int = 50,
        deadline: float = 1e9,
        sampling: SamplingParameters | None = None,
        **replay: Any,
    ) -> None:
        """Send a request and let the engine read it."""
        request = Generate(
            epoch,
            key,
            self.prompt.token_ids,
            self.prompt.picture_digest,
            sampling or SamplingParameters(max_new_tokens=max_new_tokens),
            deadline,
            **replay,
        )
        self.send(encode(request), self.prompt.pixels)

    def ask_too_much(self) -> None:
        """Send a request that is refused at once: what has been said before comes before that."""
        self.ask(LAST, max_new_tokens=1000)

    def send(self, *frames: bytes) -> None:
        """Send frames and let the engine read them."""
        self.client.send_multipart(frames)
        assert self.router.poll(5000)
        self.engine.receive()

    def answers(self, count: int) -> list[FromEngine]:
        """The next messages."""
        return [self._answer() for _ in range(count)]

    def run_until_idle(self) -> tuple[dict[int, list[int]], list[Failed]]:
        """Step until all are answered: the tokens of each, and those that failed."""
        answers, failed = self.new_tokens_until_idle()
        ids = {key: [token.token_id for token in tokens] for key, tokens in answers.items()}
        return ids, failed

    def new_tokens_until_idle(self) -> tuple[dict[int, list[NewToken]], list[Failed]]:
        """The same, with all that is told of each token."""
        while not self.scheduler.is_idle:
            self.engine.step()
        tokens, failed = defaultdict[int, list[NewToken]](list), []
        self.ask_too_much()
        while (message := self._answer()) != Failed(EPOCH, LAST, "engine_failure"):
            if isinstance(message, Failed):
                failed.append(message)
                continue
            for token in message.tokens:
                tokens[token.key].append(token)
        return dict(tokens), failed

    def tokens_of(self, key: int) -> list[int]:
        """The tokens of a request of nine that nothing disturbs."""
        self.ask(key, max_new_tokens=9)
        return self.run_until_idle()[0][key]

    def is_silent(self) -> bool:
        """Whether nothing comes before the answer to what is refused at once."""
        self.ask_too_much()
        return self._answer() == Failed(EPOCH, LAST, "engine_failure")

    def _answer(self) -> FromEngine:
        assert self.client.poll(5000)
        return decode_from_engine(self.client.recv())


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> UnreliableRunner:
    directory = write_random_checkpoint(
        tmp_path_factory.mktemp("checkpoints") / "tiny",
        tiny_config(EMBEDDED_CHECKPOINT),
        EMBEDDED_CHECKPOINT,
    )
    page = SharedPage(directory / "page")
    phases = PhaseClock(page, EngineMetrics(CollectorRegistry()), HandClock())
    settings = Settings(model=str(directory), slots=NUM_SLOTS)
    built = build_runner(settings, open_checkpoint(settings.model), phases)
    built.__class__ = UnreliableRunner
    assert isinstance(built, UnreliableRunner)
    return built


@pytest.fixture
def bench(runner: UnreliableRunner, tmp_path: Path) -> Iterator[Bench]:
    runner.poisoned_keys, runner.max_batch_size = frozenset(), NUM_SLOTS
    with open_bench(runner, tmp_path) as opened:
        yield opened


@contextmanager
def open_bench(runner: UnreliableRunner, directory: Path) -> Iterator[Bench]:
    clock, (leash, held) = HandClock(), os.pipe()
    limits = SchedulerLimits(max_waiting=1, max_prefill_tokens=2048, max_pictures=4)
    scheduler = Scheduler(runner.slots, limits, runner.pictures.__contains__)
    metrics = EngineMetrics(CollectorRegistry())
    page = SharedPage(directory / "page")
    while page.epoch < EPOCH:
        page.begin_epoch()
    phases = PhaseClock(page, metrics, clock)
    with zmq.Context() as context:
        router, dealer = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        router.bind(f"ipc://{directory}/socket")
        dealer.connect(f"ipc://{directory}/socket")
        engine = Engine(runner, scheduler, router, leash, page, phases, metrics, clock)
        tokenizer = Kosmos2Tokenizer.load(EMBEDDED_CHECKPOINT)
        prompt = prompt_of(tokenizer, "<grounding> An image of", bytes(224 * 224 * 3))
        bench = Bench(engine, scheduler, runner, router, dealer, clock, page, prompt, held)
        # Blocks until the sockets know each other; a request of an older epoch is passed over.
        dealer.send_multipart([encode(Cancel(EPOCH - 1, 0))])
        engine.receive()
        yield bench
        scheduler.cancel([s.name for s in (*scheduler.running, *scheduler.waiting)])
        router.close(linger=0)
        dealer.close(linger=0)
    for descriptor in (leash, held):
        os.close(descriptor)


def test_a_request_gets_its_first_two_tokens_from_its_first_step(bench: Bench) -> None:
    """Prefill gives one, and the decode pass of the same step another."""
    bench.ask(7)
    bench.engine.step()
    (message,) = bench.answers(1)
    assert isinstance(message, NewTokens)
    assert [token.key for token in message.tokens] == [7, 7]
    assert all(token.log_probability <= 0 for token in message.tokens)


def test_the_last_token_says_why_it_is_the_last(bench: Bench) -> None:
    bench.ask(7, max_new_tokens=3)
    bench.engine.step()
    bench.engine.step()
    tokens = [token for message in bench.answers(2) for token in message.tokens]
    assert [token.finish_reason for token in tokens] == [None, None, "length"]
    assert bench.scheduler.slots.num_free == NUM_SLOTS


def test_a_client_that_leaves_frees_its_slot_by_the_next_step(bench: Bench) -> None:
    """Invariant 5: what was cancelled holds nothing when the step begins."""
    bench.ask(7)
    bench.engine.step()
    assert bench.scheduler.slots.num_free == NUM_SLOTS - 1
    bench.send(encode(Cancel(EPOCH, 7)))
    assert bench.scheduler.slots.num_free == NUM_SLOTS
    bench.answers(1)
    bench.engine.step()
    assert bench.is_silent()


def test_an_expired_request_is_told_and_leaves_by_the_next_step(bench: Bench) -> None:
    bench.ask(7, deadline=bench.clock.now + 5)
    bench.engine.step()
    bench.answers(1)
    bench.clock.now += 5
    bench.engine.step()
    assert bench.answers(1) == [Failed(EPOCH, 7, "deadline")]
    assert bench.scheduler.slots.num_free == NUM_SLOTS


def test_a_full_queue_says_so_at_once(bench: Bench) -> None:
    """Two slots and one waiting place."""
    for key in range(4):
        bench.ask(key)
    assert bench.answers(1) == [Failed(EPOCH, 3, "overloaded")]


def test_a_message_of_an_older_epoch_is_dropped(bench: Bench) -> None:
    """It was meant for an engine that is gone, and its sender has been told."""
    bench.ask(7, epoch=EPOCH - 1)
    assert bench.scheduler.is_idle
    assert bench.is_silent()


@pytest.mark.parametrize(
    "frames", [(b"nonsense",), (b"",), (msgspec.msgpack.encode(["generate"]),)]
)
def test_what_is_no_message_is_dropped(bench: Bench, frames: tuple[bytes, ...]) -> None:
    bench.send(*frames)
    assert bench.scheduler.is_idle


def test_a_request_without_its_picture_fails_itself_only(bench: Bench) -> None:
    """Invariant 4."""
    bench.ask(6)
    request = Generate(EPOCH, 7, bench.prompt.token_ids, b"", SamplingParameters(), 1e9)
    bench.send(encode(request), b"too short")
    bench.engine.step()
    failed, tokens = bench.answers(2)
    assert failed == Failed(EPOCH, 7, "engine_failure")
    assert isinstance(tokens, NewTokens)
    assert {token.key for token in tokens.tokens} == {6}


def test_a_request_longer_than_a_slot_is_refused(bench: Bench) -> None:
    bench.ask(7, max_new_tokens=1000)
    assert bench.answers(1) == [Failed(EPOCH, 7, "engine_failure")]


def test_a_request_that_fails_a_pass_fails_itself_only(bench: Bench) -> None:
    """Invariant 4: those that were in the pass with it go on, token for token as without it."""
    undisturbed = bench.tokens_of(1)
    bench.runner.poisoned_keys = frozenset({2})
    for key in (1, 2, 3):
        bench.ask(key, max_new_tokens=9)
    tokens, failed = bench.run_until_idle()
    assert failed == [Failed(EPOCH, 2, "engine_failure")]
    assert tokens.pop(2) == undisturbed[:2]
    assert tokens == {1: undisturbed, 3: undisturbed}


def test_where_memory_is_short_batches_are_smaller(bench: Bench) -> None:
    """And the pictures kept for later go first."""
    undisturbed = bench.tokens_of(1)
    bench.runner.max_batch_size = 1
    for key in (1, 2, 3):
        bench.ask(key, max_new_tokens=9)
    assert bench.runner.pictures.num_bytes > 0
    bench.engine.step()
    assert bench.runner.pictures.num_bytes == 0
    assert bench.run_until_idle() == (dict.fromkeys((1, 2, 3), undisturbed), [])


def test_a_request_too_large_for_the_memory_is_refused(bench: Bench) -> None:
    """It is tried alone first, with nothing kept for later."""
    bench.runner.max_batch_size = 0
    bench.ask(7)
    bench.engine.step()
    assert bench.is_silent()
    bench.engine.step()
    assert bench.answers(1) == [Failed(EPOCH, 7, "engine_failure")]
    assert bench.scheduler.is_idle


@pytest.mark.parametrize("temperature", [0.0, 0.9])
@pytest.mark.parametrize("num_received", [1, 4, 8])
def test_a_request_goes_on_where_another_engine_died(
    bench: Bench, num_received: int, temperature: float
) -> None:
    """Randomness and the n-gram ban go by all tokens, so the rest is as if nothing had been."""
    sampling = SamplingParameters(9, no_repeat_ngram_size=2, temperature=temperature, seed=5)
    bench.ask(1, sampling=sampling)
    undisturbed = bench.new_tokens_until_idle()[0][1]
    received = [token.token_id for token in undisturbed[:num_received]]
    bench.ask(2, sampling=sampling, new_token_ids=received, is_replay=True)
    rest = bench.new_tokens_until_idle()[0][2]
    for token, expected in zip(rest, undisturbed[num_received:], strict=True):
        assert (token.token_id, token.finish_reason) == (expected.token_id, expected.finish_reason)
        assert token.log_probability == pytest.approx(expected.log_probability, abs=1e-3)


def test_a_request_that_was_admitted_once_is_not_refused_again(bench: Bench) -> None:
    for key in range(4):
        bench.ask(key, is_replay=True)
    assert bench.is_silent()


def test_what_runs_is_named_before_each_step(bench: Bench) -> None:
    """If the step is the engine's last, these are the suspects."""
    bench.ask(7)
    bench.ask(8)
    bench.engine.step()
    assert bench.page.running == [7, 8]
    bench.run_until_idle()
    bench.clock.now += 1
    bench.ask(9, epoch=EPOCH - 1)
    assert bench.page.running == []


def test_rows_of_an_http_process_that_is_gone_leave_by_the_next_step(bench: Bench) -> None:
    bench.ask(7)
    bench.client.close(linger=0)
    while bench.scheduler.running or bench.scheduler.waiting:
        bench.engine.step()
    assert bench.scheduler.slots.num_free == NUM_SLOTS


def test_a_second_question_about_a_picture_finds_its_prefix(bench: Bench) -> None:
    """And answers the same as the first."""
    bench.runner.pictures.clear()
    for key in (1, 2):
        bench.ask(key, max_new_tokens=2)
        bench.engine.step()
    first, second = (message.tokens for message in bench.answers(2))
    assert [token.cached_tokens for token in first] == [0, 0]
    assert [token.cached_tokens for token in second] == [67, 67]
    assert [token.token_id for token in first] == [token.token_id for token in second]


def test_the_engine_stops_when_its_leash_goes(bench: Bench) -> None:
    """A supervisor that is killed leaves no engine behind."""
    os.write(bench.leash, b"x")
    assert bench.engine.receive() is False
