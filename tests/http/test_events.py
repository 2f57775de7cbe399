"""How a stream of events goes on, stops and fails, whatever makes the answer."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from starlette.requests import Request
from starlette.types import Message

from app.errors import ClientDisconnected, DeadlineExceeded, EngineFailure, Kosmos2Error, Unavailable
from app.grounding.answers import (
    Answer,
    AnswerBox,
    Entity,
    GroundedText,
    ImageFacts,
    NewEntity,
    NewText,
    Timings,
    Usage,
)
from app.http.events import Work, respond_with_events
from app.http.outcomes import Outcome
from app.service import EventHandler
from harness.events import Event, read_events

BOX = AnswerBox((0.0, 0.0, 32.0, 24.0), (0.0, 0.0, 0.5, 0.5), (0, 495), 0.5)
ENTITY = Entity("a dog", (0, 5), False, (BOX,))
ANSWER = Answer(
    id="1",
    model="m",
    task="raw",
    grounded=GroundedText("a dog", "a dog", 0, (ENTITY,), "<phrase> a dog</phrase>", "stop"),
    image=ImageFacts(64, 48, 1),
    seed=None,
    usage=Usage(70, 3, 0),
    timings=Timings(0.0, 0.0, 0.0, 0.0),
)


@dataclass
class Client:
    """The other end of a connection.

    Attributes:
        received: the body so far.
        leaves_after: how many parts of a body it waits for; none: it stays.
        on_part: is told each part.
    """

    leaves_after: int | None = None
    on_part: Callable[[bytes], None] = lambda part: None
    received: list[bytes] = field(default_factory=list)
    has_left: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, message: Message) -> None:
        """What the server sends."""
        if part := message.get("body", b""):
            self.received.append(part)
            self.on_part(part)
        if len(self.received) == self.leaves_after:
            self.has_left.set()

    async def leave(self) -> Message:
        """What the server receives once the body has been read."""
        if self.leaves_after != 0:
            await self.has_left.wait()
        return {"type": "http.disconnect"}

    def events(self) -> list[Event]:
        """What it has understood."""
        return list(read_events(b"".join(self.received).decode().split("\n")[:-1]))


async def converse(work: Work, client: Client, keep_alive_s: float = 60) -> Outcome:
    """Respond to one request, from the first event to the last byte."""
    scope = {"type": "http", "headers": [], "state": {"request_id": "1"}}
    outcome = Outcome()
    async with AsyncExitStack() as lifetime:
        request = Request(scope, client.leave, client.take)
        response = await respond_with_events(request, work, outcome, lifetime, keep_alive_s)
        await response(scope, client.leave, client.take)
    return outcome


async def answers(on_event: EventHandler) -> Answer:
    """Tells an entity and two texts, then the answer."""
    on_event(NewText("a "))
    on_event(NewText("dog"))
    on_event(NewEntity(0, ENTITY))
    return ANSWER


def fails(error: Exception, *, midway: bool) -> Work:
    """Fails, at once or after a text."""

    async def work(on_event: EventHandler) -> Answer:
        if midway:
            on_event(NewText("a"))
        raise error

    return work


def test_events_come_in_the_order_they_are_told() -> None:
    client = Client()
    outcome = asyncio.run(converse(answers, client))
    assert [event.name for event in client.events()] == ["token", "token", "entity", "done"]
    assert client.events()[2].data["entity"]["boxes"][0]["patch_indices"] == [0, 495]
    assert client.events()[-1].data["usage"]["completion_tokens"] == 3
    assert outcome.name == "completed"


def test_every_frame_is_two_lines_and_an_empty_one() -> None:
    """Whatever a reader takes for the end of a line is escaped."""

    async def work(on_event: EventHandler) -> Answer:
        on_event(NewText("a\nb\r\u2028\x85é"))
        return ANSWER

    client = Client()
    asyncio.run(converse(work, client))
    frame = 'event: token\ndata: {"text": "a\\nb\\r\\u2028\\u0085\\u00e9"}\n\n'
    assert client.received[0].decode() == frame


def test_an_answer_without_words_is_told_all_the_same() -> None:
    async def work(on_event: EventHandler) -> Answer:
        return ANSWER

    client = Client()
    asyncio.run(converse(work, client))
    assert [event.name for event in client.events()] == ["done"]


@pytest.mark.parametrize(
    ("error", "status", "code", "outcome"),
    [
        (DeadlineExceeded("too late"), 504, "deadline_exceeded", "deadline"),
        (EngineFailure("it failed"), 500, "engine_failure", "failed"),
        (Unavailable("it is gone", 5), 503, "unavailable", "failed"),
    ],
)
def test_a_failure_after_the_first_event_is_the_last_event(
    error: Kosmos2Error, status: int, code: str, outcome: str
) -> None:
    """The problem object, as the response would have had it."""
    client = Client()
    told = asyncio.run(converse(fails(error, midway=True), client))
    first, last = client.events()
    assert (first.name, last.name) == ("token", "error")
    assert (last.data["status"], last.data["code"]) == (status, code)
    assert last.data["detail"] == str(error)
    assert last.data["request_id"] == "1"
    assert "errors" not in last.data
    assert told.name == outcome


@pytest.mark.parametrize("error", [DeadlineExceeded("too late"), Unavailable("it is gone")])
def test_a_failure_before_the_first_event_is_raised(error: Kosmos2Error) -> None:
    """So it becomes an ordinary response."""
    client = Client()
    with pytest.raises(type(error)):
        asyncio.run(converse(fails(error, midway=False), client))
    assert client.received == []


@pytest.mark.parametrize("midway", [True, False])
def test_what_nobody_foresaw_is_raised(midway: bool) -> None:
    """The last HTTP handler logs it, and ends a stream that has begun with an error."""
    client = Client()
    with pytest.raises(ZeroDivisionError):
        asyncio.run(converse(fails(ZeroDivisionError(), midway=midway), client))
    assert [event.name for event in client.events()] == ["token"] * midway


def test_a_pause_is_filled_with_comments() -> None:
    """Proxies take a silent connection for dead. Before the first event nothing is sent at all."""

    async def pauses_twice() -> Client:
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
        await converse(work, client, keep_alive_s=0.01)
        return client

    client = asyncio.run(pauses_twice())
    assert client.received[0].startswith(b"event: token")
    assert client.received[1] == b": ping\n\n"
    assert [event.name for event in client.events()] == ["token", "done"]


@dataclass
class Endless:
    """Tells a text and never comes to an end; knows whether it was stopped."""

    num_texts: int
    is_stopped: bool = False

    async def work(self, on_event: EventHandler) -> Answer:
        """Until it is cancelled."""
        try:
            for _ in range(self.num_texts):
                on_event(NewText("a"))
            await asyncio.Event().wait()
        finally:
            self.is_stopped = True
        return ANSWER


@pytest.mark.parametrize("parts", [1, 2])
def test_when_the_client_leaves_the_work_stops(parts: int) -> None:
    """Before the response is over, so that nothing of it outlives the request."""
    endless = Endless(num_texts=2)
    outcome = asyncio.run(converse(endless.work, Client(leaves_after=parts)))
    assert endless.is_stopped
    assert outcome.name == "cancelled"


def test_when_the_client_leaves_before_the_first_event_the_work_stops() -> None:
    endless = Endless(num_texts=0)
    with pytest.raises(ClientDisconnected):
        asyncio.run(converse(endless.work, Client(leaves_after=0)))
    assert endless.is_stopped


def test_the_work_does_not_wait_for_a_client_that_reads_slowly() -> None:
    """Or slow clients could take all places of the service."""

    async def reads_nothing() -> None:
        is_done = asyncio.Event()

        async def work(on_event: EventHandler) -> Answer:
            try:
                return await answers(on_event)
            finally:
                is_done.set()

        class SlowClient(Client):
            async def take(self, message: Message) -> None:
                await is_done.wait()
                await super().take(message)

        client = SlowClient()
        await asyncio.wait_for(converse(work, client), 60)
        assert client.events()[-1].name == "done"

    asyncio.run(reads_nothing())
