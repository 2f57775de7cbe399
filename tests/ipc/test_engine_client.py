"""The engine's client, with a test in the engine's place: real messages over a real socket."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import zmq
import zmq.asyncio

from app.errors import EngineFailure
from app.ipc.engine_client import EngineClient
from app.ipc.engine_messages import (
    Cancel,
    Failure,
    Generate,
    NewToken,
    NewTokens,
    SamplingParameters,
    ToEngine,
    decode_to_engine,
    encode,
)
from app.ipc.pending_request import PendingRequest, Prompt
from app.ipc.shared_state import EngineFacts, SharedState
from app.settings import MAX_SLOTS

FACTS = EngineFacts(num_slots=4, max_waiting=16, device="cpu", dtype="float32")
PROMPT = Prompt([1, 2, 3], b"pixels", b"digest")
SAMPLING = SamplingParameters(max_new_tokens=4)
NOW = 1000.0


@dataclass
class Bench:
    """A client whose engine is the test."""

    client: EngineClient
    state: SharedState
    router: zmq.asyncio.Socket
    identity: bytes = b""

    async def received(self) -> ToEngine:
        """The next message for the engine."""
        self.identity, message, *_ = await self.router.recv_multipart()
        return decode_to_engine(message)

    async def answer(self, request: ToEngine, token_id: int, *, is_last: bool = False) -> None:
        """Send a token as the engine that the request was meant for."""
        reason = "length" if is_last else None
        token = NewToken(request.key, token_id, -0.5, reason, 0.0, 0)
        await self.router.send_multipart([self.identity, encode(NewTokens(request.epoch, [token]))])

    async def fail(self, request: ToEngine) -> None:
        """Say that a request failed."""
        message = Failure(request.epoch, request.key, "engine_failure")
        await self.router.send_multipart([self.identity, encode(message)])

    async def restart(self, *suspects: int) -> None:
        """Let the engine die and another get ready."""
        self.state.mark_engine_stopped(NOW, is_returning=True)
        epoch = self.state.begin_epoch()
        self.state.mark_engine_ready(FACTS)
        await self.client.on_engine_ready(epoch, suspects)


@asynccontextmanager
async def open_bench(directory: Path) -> AsyncIterator[Bench]:
    """Around a client whose engine is ready."""
    state = SharedState(directory / "state")
    with zmq.asyncio.Context() as context, context.socket(zmq.ROUTER) as router:
        endpoint = f"ipc://{directory}/socket"
        router.bind(endpoint)
        state.begin_epoch()
        state.mark_engine_ready(FACTS)
        client = EngineClient(endpoint, state)
        receiving = asyncio.create_task(client.receive())
        yield Bench(client, state, router)
        receiving.cancel()
        client.close()


def with_bench(directory: Path, test: Callable[[Bench], Awaitable[None]]) -> None:
    """Run a test in an event loop."""

    async def run() -> None:
        async with asyncio.timeout(60), open_bench(directory) as bench:
            await test(bench)

    asyncio.run(run())


async def begin(bench: Bench) -> tuple[AsyncGenerator[NewToken], Generate]:
    """A request that has got its first token, 10; and what the engine had received."""
    generated = bench.client.generate(PROMPT, SAMPLING, 1e9)
    first = asyncio.create_task(anext(generated))
    request = await bench.received()
    assert isinstance(request, Generate)
    await bench.answer(request, 10)
    assert (await first).token_id == 10
    return generated, request


def test_the_next_engine_is_asked_to_go_on_behind_the_tokens_received(tmp_path: Path) -> None:
    """And what the dead one had still sent is void: each token comes once."""

    async def test(bench: Bench) -> None:
        generated, first = await begin(bench)
        await bench.restart(first.key, 1, 2, 3)
        second = await bench.received()
        assert isinstance(second, Generate)
        assert (second.key, second.epoch) == (first.key, first.epoch + 1)
        assert (second.new_token_ids, second.max_running) == ([10], 2)
        assert (first.is_replay, second.is_replay) == (False, True)
        await bench.answer(first, 99)
        await bench.answer(second, 11)
        await bench.answer(second, 12, is_last=True)
        assert [new_token.token_id async for new_token in generated] == [11, 12]

    with_bench(tmp_path, test)


def test_who_did_not_run_is_not_suspected(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        generated, _ = await begin(bench)
        await bench.restart(1, 2, 3)
        replayed = await bench.received()
        assert isinstance(replayed, Generate)
        assert replayed.max_running == MAX_SLOTS
        await generated.aclose()

    with_bench(tmp_path, test)


def test_a_request_that_came_between_two_engines_is_sent_to_the_next(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        bench.state.mark_engine_stopped(NOW, is_returning=True)
        generated = bench.client.generate(PROMPT, SAMPLING, 1e9)
        first = asyncio.create_task(anext(generated))
        await asyncio.sleep(0)
        await bench.restart()
        request = await bench.received()
        assert isinstance(request, Generate)
        assert (request.epoch, request.is_replay) == (bench.state.epoch, False)
        await bench.answer(request, 10)
        assert (await first).token_id == 10
        await generated.aclose()
        assert await bench.received() == Cancel(request.epoch, request.key)

    with_bench(tmp_path, test)


def test_a_request_that_ran_alone_twice_at_a_death_is_refused(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        generated, first = await begin(bench)
        await bench.restart(first.key)
        second = await bench.received()
        assert isinstance(second, Generate)
        assert second.max_running == 1
        await bench.restart(first.key)
        with pytest.raises(EngineFailure):
            await anext(generated)

    with_bench(tmp_path, test)


@pytest.mark.parametrize("num_running", [1, 2, 3, 8, 256])
def test_quarantine_ends_after_a_logarithm_of_deaths(num_running: int) -> None:
    """Each death halves those that may run, and alone there are two lives."""
    request = PendingRequest(1, PROMPT, SAMPLING, 1e9)
    num_deaths, running = 0, num_running
    while not request.is_over:
        request.mark_suspect(running)
        num_deaths, running = num_deaths + 1, request.max_running
    assert num_deaths == num_running.bit_length() + 1


def test_a_request_that_is_answered_is_not_asked_again(tmp_path: Path) -> None:
    """Though its caller has not taken all of it yet."""

    async def test(bench: Bench) -> None:
        generated, request = await begin(bench)
        await bench.answer(request, 11)
        await bench.answer(request, 12, is_last=True)
        assert (await anext(generated)).token_id == 11
        other = asyncio.create_task(anext(bench.client.generate(PROMPT, SAMPLING, 1e9)))
        other_request = await bench.received()
        await bench.answer(other_request, 20)
        assert (await other).token_id == 20  # so all before it has arrived
        await bench.restart()
        replayed = await bench.received()
        assert replayed.key == other_request.key
        assert (await anext(generated)).token_id == 12

    with_bench(tmp_path, test)


def test_an_answer_of_an_older_engine_ends_nothing(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        generated, first = await begin(bench)
        await bench.restart()
        second = await bench.received()
        await bench.fail(first)
        await bench.answer(second, 11, is_last=True)
        assert (await anext(generated)).token_id == 11

    with_bench(tmp_path, test)
