"""The engine's client, with a test as the engine: real messages over a real socket."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
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
class ClientRig:
    """A client, and the socket at which the test acts as its engine."""

    client: EngineClient
    state: SharedState
    router: zmq.asyncio.Socket
    identity: bytes = b""

    async def received(self) -> ToEngine:
        """Return the next message that the engine receives."""
        self.identity, message, *_ = await self.router.recv_multipart()
        return decode_to_engine(message)

    async def answer(self, request: ToEngine, *token_ids: int, is_last: bool = False) -> None:
        """Send the tokens of one pass, as the engine of the request's epoch."""
        reason = "length" if is_last else None
        tokens = [NewToken(request.key, token_id, -0.5, None, 0.0, 0) for token_id in token_ids]
        tokens[-1] = msgspec.structs.replace(tokens[-1], finish_reason=reason)
        await self.router.send_multipart([self.identity, encode(NewTokens(request.epoch, tokens))])

    async def fail(self, request: ToEngine) -> None:
        """Report that the engine failed on a request."""
        message = Failure(request.epoch, request.key, "engine_failure")
        await self.router.send_multipart([self.identity, encode(message)])

    async def restart(self, *suspects: int) -> None:
        """Record that the engine died and that another is ready."""
        self.state.mark_engine_stopped(NOW, is_returning=True)
        epoch = self.state.begin_epoch()
        self.state.mark_engine_ready(FACTS)
        self.client.on_engine_ready(epoch, suspects)


@asynccontextmanager
async def open_rig(directory: Path) -> AsyncIterator[ClientRig]:
    """Yield a client whose engine is ready."""
    state = SharedState(directory / "state")
    with zmq.asyncio.Context() as context, context.socket(zmq.ROUTER) as router:
        endpoint = f"ipc://{directory}/socket"
        router.bind(endpoint)
        state.begin_epoch()
        state.mark_engine_ready(FACTS)
        client = EngineClient(endpoint, state)
        with client.receiving():
            yield ClientRig(client, state, router)
        client.close()


def run_with_rig(directory: Path, test: Callable[[ClientRig], Awaitable[None]]) -> None:
    """Run a test in an event loop."""

    async def run() -> None:
        async with asyncio.timeout(60), open_rig(directory) as rig:
            await test(rig)

    asyncio.run(run())


async def begin(rig: ClientRig) -> tuple[AsyncGenerator[NewToken], Generate]:
    """Send a request and its first token, 10; return the iterator and the engine's message."""
    generated = rig.client.generate(PROMPT, SAMPLING, 1e9)
    first = asyncio.create_task(anext(generated))
    request = await rig.received()
    assert isinstance(request, Generate)
    await rig.answer(request, 10)
    assert (await first).token_id == 10
    return generated, request


def test_the_next_engine_continues_after_the_received_tokens(tmp_path: Path) -> None:
    """Late tokens of the dead engine are dropped, so that each token appears once."""

    async def test(rig: ClientRig) -> None:
        generated, first = await begin(rig)
        await rig.restart(first.key, 1, 2, 3)
        second = await rig.received()
        assert isinstance(second, Generate)
        assert (second.key, second.epoch) == (first.key, first.epoch + 1)
        assert (second.new_token_ids, second.max_running) == ([10], 2)
        assert (first.is_replay, second.is_replay) == (False, True)
        await rig.answer(first, 99)
        await rig.answer(second, 11)
        await rig.answer(second, 12, is_last=True)
        assert [new_token.token_id async for new_token in generated] == [11, 12]

    run_with_rig(tmp_path, test)


def test_a_message_that_arrives_while_requests_are_sent_is_delivered(tmp_path: Path) -> None:
    """Sending resets the descriptor of the socket, so that nothing announces the message later."""

    async def test(rig: ClientRig) -> None:
        generated, request = await begin(rig)
        others = [rig.client.generate(PROMPT, SAMPLING, 1e9) for _ in range(300)]
        async with asyncio.TaskGroup() as tasks:
            # One step of the event loop runs all of these, in milliseconds.
            tasks.create_task(rig.answer(request, 11))
            sent = [tasks.create_task(anext(other)) for other in others]
            assert (await anext(generated)).token_id == 11
            for task in sent:
                task.cancel()

    run_with_rig(tmp_path, test)


def test_two_tokens_of_one_message_are_delivered_in_order(tmp_path: Path) -> None:
    """And are both part of a replay."""

    async def test(rig: ClientRig) -> None:
        generated, request = await begin(rig)
        await rig.answer(request, 11, 12)
        assert [(await anext(generated)).token_id for _ in range(2)] == [11, 12]
        await rig.restart(request.key)
        replayed = await rig.received()
        assert isinstance(replayed, Generate)
        assert replayed.new_token_ids == [10, 11, 12]
        await rig.answer(replayed, 13, 14, is_last=True)
        assert [new_token.token_id async for new_token in generated] == [13, 14]

    run_with_rig(tmp_path, test)


def test_a_request_that_did_not_run_is_no_suspect(tmp_path: Path) -> None:
    async def test(rig: ClientRig) -> None:
        generated, _ = await begin(rig)
        await rig.restart(1, 2, 3)
        replayed = await rig.received()
        assert isinstance(replayed, Generate)
        assert replayed.max_running == MAX_SLOTS
        await generated.aclose()

    run_with_rig(tmp_path, test)


def test_a_request_that_arrives_between_two_engines_is_sent_to_the_next(tmp_path: Path) -> None:
    async def test(rig: ClientRig) -> None:
        rig.state.mark_engine_stopped(NOW, is_returning=True)
        generated = rig.client.generate(PROMPT, SAMPLING, 1e9)
        first = asyncio.create_task(anext(generated))
        await asyncio.sleep(0)
        await rig.restart()
        request = await rig.received()
        assert isinstance(request, Generate)
        assert (request.epoch, request.is_replay) == (rig.state.epoch, False)
        await rig.answer(request, 10)
        assert (await first).token_id == 10
        await generated.aclose()
        assert await rig.received() == Cancel(request.epoch, request.key)

    run_with_rig(tmp_path, test)


def test_a_request_that_ran_alone_at_two_deaths_is_rejected(tmp_path: Path) -> None:
    async def test(rig: ClientRig) -> None:
        generated, first = await begin(rig)
        await rig.restart(first.key)
        second = await rig.received()
        assert isinstance(second, Generate)
        assert second.max_running == 1
        await rig.restart(first.key)
        with pytest.raises(EngineFailure):
            await anext(generated)

    run_with_rig(tmp_path, test)


@pytest.mark.parametrize("num_running", [1, 2, 3, 8, 256])
def test_the_number_of_deaths_per_suspect_is_logarithmic(num_running: int) -> None:
    """Each death halves the batch limit, and a request that runs alone has two attempts."""
    request = PendingRequest(1, PROMPT, SAMPLING, 1e9)
    num_deaths, running = 0, num_running
    while not request.is_over:
        request.mark_suspect(running)
        num_deaths, running = num_deaths + 1, request.max_running
    assert num_deaths == num_running.bit_length() + 1


def test_an_answered_request_is_not_sent_again(tmp_path: Path) -> None:
    """Even if its caller has not read all tokens yet."""

    async def test(rig: ClientRig) -> None:
        generated, request = await begin(rig)
        await rig.answer(request, 11)
        await rig.answer(request, 12, is_last=True)
        assert (await anext(generated)).token_id == 11
        other = asyncio.create_task(anext(rig.client.generate(PROMPT, SAMPLING, 1e9)))
        other_request = await rig.received()
        await rig.answer(other_request, 20)
        assert (await other).token_id == 20  # so all earlier messages have arrived
        await rig.restart()
        replayed = await rig.received()
        assert replayed.key == other_request.key
        assert (await anext(generated)).token_id == 12

    run_with_rig(tmp_path, test)


def test_a_failure_of_an_older_engine_is_ignored(tmp_path: Path) -> None:
    async def test(rig: ClientRig) -> None:
        generated, first = await begin(rig)
        await rig.restart()
        second = await rig.received()
        await rig.fail(first)
        await rig.answer(second, 11, is_last=True)
        assert (await anext(generated)).token_id == 11

    run_with_rig(tmp_path, test)
