"""Streams of events: their order, their end and their failures, without an engine."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from starlette.requests import Request
from starlette.types import Message

from app.errors import (
    ClientDisconnected,
    DeadlineExceeded,
    EngineFailure,
    Kosmos2Error,
    Unavailable,
)
from app.grounding.answers import (
    Answer,
    AnswerBox,
    NewEntity,
    NewText,
)
from app.grounding.requests import CallContext
from app.http.calls import Call
from app.http.events import ANSWER_EVENTS, Work, respond_with_events
from app.http.outcomes import Outcome
from app.service import EventHandler
from app.telemetry.timeline import Timeline
from harness.events import Event, read_events
from harness.sample_answers import sample_answer

BOX = AnswerBox((0.0, 0.0, 32.0, 24.0), (0.0, 0.0, 0.5, 0.5), (0, 495), 0.5)
ANSWER = sample_answer(BOX)
(ENTITY,) = ANSWER.grounded.entities


@dataclass
class Client:
    """The client's end of a connection.

    Attributes:
        received: the parts of the body so far.
        disconnects_after: number of parts after which the client disconnects; `None`: never.
        on_part: called with each part.
    """

    disconnects_after: int | None = None
    on_part: Callable[[bytes], None] = lambda part: None
    received: list[bytes] = field(default_factory=list)
    has_disconnected: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, message: Message) -> None:
        """Receive a message from the server."""
        if part := message.get("body", b""):
            self.received.append(part)
            self.on_part(part)
        if len(self.received) == self.disconnects_after:
            self.has_disconnected.set()

    async def receive(self) -> Message:
        """Return the message that the server receives when the client disconnects."""
        if self.disconnects_after != 0:
            await self.has_disconnected.wait()
        return {"type": "http.disconnect"}

    def events(self) -> list[Event]:
        """Return the events received so far."""
        return list(read_events(b"".join(self.received).decode().split("\n")[:-1]))


async def run_response(work: Work, client: Client, keep_alive_s: float = 60) -> Outcome:
    """Respond to one request, from its first event to its last byte, and return the outcome."""
    scope = {"type": "http", "headers": [], "state": {"door": "kosmos2"}}
    outcome = Outcome()
    async with AsyncExitStack() as lifetime:
        request = Request(scope, client.receive, client.send)
        context = CallContext("1", Timeline(0.0), deadline=60.0)
        call = Call(request, request, context, outcome, lifetime)
        response = await respond_with_events(call, work, ANSWER_EVENTS, keep_alive_s)
        await response(scope, client.receive, client.send)
    return outcome


async def answer_in_parts(on_event: EventHandler) -> Answer:
    """Report two texts and an entity, then return the answer."""
    on_event(NewText("a "))
    on_event(NewText("dog"))
    on_event(NewEntity(0, ENTITY))
    return ANSWER


def failing(error: Exception, *, midway: bool) -> Work:
    """Return work that raises `error` at once or after a text."""

    async def work(on_event: EventHandler) -> Answer:
        if midway:
            on_event(NewText("a"))
        raise error

    return work


def test_events_are_sent_in_the_order_of_the_work() -> None:
    client = Client()
    outcome = asyncio.run(run_response(answer_in_parts, client))
    assert [event.name for event in client.events()] == ["token", "token", "entity", "done"]
    assert client.events()[2].data["entity"]["boxes"][0]["patch_indices"] == [0, 495]
    assert client.events()[-1].data["usage"]["completion_tokens"] == 3
    assert outcome.name == "completed"


def test_every_frame_is_two_lines_and_an_empty_line() -> None:
    """Every character that a reader may treat as the end of a line is escaped."""

    async def work(on_event: EventHandler) -> Answer:
        on_event(NewText("a\nb\r\u2028\x85é"))
        return ANSWER

    client = Client()
    asyncio.run(run_response(work, client))
    frame = 'event: token\ndata: {"text": "a\\nb\\r\\u2028\\u0085\\u00e9"}\n\n'
    assert client.received[0].decode() == frame


def test_an_answer_without_text_ends_with_done() -> None:
    async def work(on_event: EventHandler) -> Answer:
        return ANSWER

    client = Client()
    asyncio.run(run_response(work, client))
    assert [event.name for event in client.events()] == ["done"]


@pytest.mark.parametrize(
    ("error", "status", "code", "outcome"),
    [
        (DeadlineExceeded("too late"), 504, "deadline_exceeded", "deadline"),
        (EngineFailure("it failed"), 500, "engine_failure", "failed"),
        (Unavailable("the engine is restarting", 5), 503, "unavailable", "failed"),
    ],
)
def test_a_failure_after_the_first_event_is_the_last_event(
    error: Kosmos2Error, status: int, code: str, outcome: str
) -> None:
    """The event holds the same problem as an error response."""
    client = Client()
    counted = asyncio.run(run_response(failing(error, midway=True), client))
    first, last = client.events()
    assert (first.name, last.name) == ("token", "error")
    assert (last.data["status"], last.data["code"]) == (status, code)
    assert last.data["detail"] == str(error)
    assert last.data["request_id"] == "1"
    assert "errors" not in last.data
    assert counted.name == outcome


@pytest.mark.parametrize(
    "error", [DeadlineExceeded("too late"), Unavailable("the engine is restarting")]
)
def test_a_failure_before_the_first_event_is_raised(error: Kosmos2Error) -> None:
    """The HTTP handlers turn it into an ordinary response."""
    client = Client()
    with pytest.raises(type(error)):
        asyncio.run(run_response(failing(error, midway=False), client))
    assert client.received == []


@pytest.mark.parametrize("midway", [True, False])
def test_an_unexpected_exception_is_raised(midway: bool) -> None:
    """The last HTTP handler logs it, and sends an error as the last event of a started stream."""
    client = Client()
    with pytest.raises(ZeroDivisionError):
        asyncio.run(run_response(failing(ZeroDivisionError(), midway=midway), client))
    assert [event.name for event in client.events()] == ["token"] * midway


def test_comments_are_sent_during_a_pause() -> None:
    """Proxies close silent connections. Before the first event, nothing is sent."""

    async def run_with_two_pauses() -> Client:
        first_pause, second_pause = asyncio.Event(), asyncio.Event()

        def on_part(part: bytes) -> None:
            if part == b": ping\n\n":
                second_pause.set()

        async def work(on_event: EventHandler) -> Answer:
            asyncio.get_running_loop().call_later(0.02, first_pause.set)
            await first_pause.wait()
            on_event(NewText("a dog"))
            await second_pause.wait()
            return ANSWER

        client = Client(on_part=on_part)
        await run_response(work, client, keep_alive_s=0.01)
        return client

    client = asyncio.run(run_with_two_pauses())
    assert client.received[0].startswith(b"event: token")
    assert client.received[1] == b": ping\n\n"
    assert [event.name for event in client.events()] == ["token", "done"]


@dataclass
class EndlessWork:
    """Reports texts and then waits without end; records whether it was cancelled."""

    num_texts: int
    is_stopped: bool = False

    async def work(self, on_event: EventHandler) -> Answer:
        """Run until cancelled."""
        try:
            for _ in range(self.num_texts):
                on_event(NewText("a"))
            await asyncio.Event().wait()
        finally:
            self.is_stopped = True
        return ANSWER


@pytest.mark.parametrize("parts", [1, 2])
def test_the_work_is_cancelled_when_the_client_disconnects(parts: int) -> None:
    """It has ended before the response ends, so that no work outlives its request."""
    endless = EndlessWork(num_texts=2)
    outcome = asyncio.run(run_response(endless.work, Client(disconnects_after=parts)))
    assert endless.is_stopped
    assert outcome.name == "cancelled"


def test_the_work_is_cancelled_when_the_client_disconnects_before_the_first_event() -> None:
    endless = EndlessWork(num_texts=0)
    with pytest.raises(ClientDisconnected):
        asyncio.run(run_response(endless.work, Client(disconnects_after=0)))
    assert endless.is_stopped


def test_the_work_does_not_wait_for_a_slow_client() -> None:
    """Otherwise slow clients could occupy the whole capacity of the service."""

    async def run_with_slow_client() -> None:
        is_done = asyncio.Event()

        async def work(on_event: EventHandler) -> Answer:
            try:
                return await answer_in_parts(on_event)
            finally:
                is_done.set()

        class SlowClient(Client):
            async def send(self, message: Message) -> None:
                await is_done.wait()
                await super().send(message)

        client = SlowClient()
        await asyncio.wait_for(run_response(work, client), 60)
        assert client.events()[-1].name == "done"

    asyncio.run(run_with_slow_client())
