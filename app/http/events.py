"""Sends answers as Server-Sent Events: each part of an answer as soon as it is final."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastapi import Request, Response
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from pydantic import BaseModel

from app.contract.response_models import AnswerBody, EntityEvent, Problem, TokenEvent
from app.errors import Kosmos2Error, NotAcceptable
from app.grounding.answers import Answer, AnswerEvent, NewText
from app.http.accept import preferred_type
from app.http.bodies import JSON
from app.http.calls import Call
from app.http.connection import while_connected
from app.http.foreign_errors import ERROR_SHAPES
from app.http.outcomes import Outcome
from app.http.problems import (
    INTERNAL_ERROR,
    INTERNAL_ERROR_DETAIL,
    problem_of,
    problem_of_kind,
)
from app.ipc.engine_messages import FinishReason
from app.telemetry.metrics import DoorName

EVENT_STREAM = "text/event-stream"
KEEP_ALIVE_S = 15.0
# `X-Accel-Buffering` keeps nginx from collecting events before it forwards them.
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

Part = TypeVar("Part")
Whole = TypeVar("Whole")
Item = TypeVar("Item")

Work = Callable[[Callable[[Part], None]], Coroutine[Any, Any, Whole]]
"""Produces an answer and passes its parts to the handler."""


@dataclass(frozen=True)
class EventForms(Generic[Part, Whole]):
    """How a route writes its events.

    Attributes:
        part: returns the event of a part, as `event_frame` writes it; empty if it has none.
        done: returns the last events.
        finish_reason: returns why the answer ended.
    """

    part: Callable[[Part], bytes]
    done: Callable[[Whole], bytes]
    finish_reason: Callable[[Whole], FinishReason]


async def respond_with_events(
    call: Call,
    work: Work[Part, Whole],
    forms: EventForms[Part, Whole],
    keep_alive_s: float = KEEP_ALIVE_S,
) -> Response:
    """Start `work`, and return the response once the first event is ready.

    A failure before the first event is an ordinary error. `work` does not wait for the client to
    read, so a slow client occupies no capacity; `work` is cancelled when the client disconnects.

    Args:
        call: its outcome is set when the stream ends.
        keep_alive_s: after this time without an event, a comment is sent.

    Raises:
        Kosmos2Error: `work` failed before its first event.
        ClientDisconnected: the client closed the connection before the first event.
    """
    items = await call.lifetime.enter_async_context(_run_in_background(work))
    first = await while_connected(call.request, items.get())
    if isinstance(first, asyncio.Task):
        first.result()
    frames = aclosing(
        _frames(first, items, forms, call.outcome, call.context.request_id, keep_alive_s)
    )
    return EventSourceResponse(await call.lifetime.enter_async_context(frames), headers=_HEADERS)


def event_frame(name: str | None, data: Any) -> bytes:
    """Return an event whose data is JSON; other projects' clients read events without a name."""
    # ASCII: some readers, such as Python's `splitlines`, also end a line at U+2028 and the like.
    return format_sse_event(event=name, data_str=json.dumps(data, ensure_ascii=True))


def internal_error_frame(request_id: str, door: DoorName) -> bytes:
    """Return the last event of a stream that ends with an unexpected exception."""
    return _error_frame(problem_of_kind(INTERNAL_ERROR, INTERNAL_ERROR_DETAIL, request_id), door)


def _error_frame(problem: Problem, door: DoorName) -> bytes:
    shape = ERROR_SHAPES.get(door)
    if shape is None:
        return event_frame("error", problem.model_dump(exclude_none=True))
    return format_sse_event(data_str=shape.to_event(problem))


def describe_events(
    parts: Mapping[str, type[BaseModel]], whole: type[BaseModel], order: str
) -> dict[str, Any]:
    """Return a stream for OpenAPI's `content`; `x-events`, since 3.1 cannot describe events.

    Args:
        parts: the data of each event before the last, by name.
        whole: the data of the last event, `done`.
        order: what the order of the events means.
    """
    components = "#/components/schemas/{model}"
    events: dict[str, Any] = {}
    for name, model in parts.items():
        events[name] = model.model_json_schema(ref_template=components)
        events[name].pop("$defs", None)  # `whole` uses the same, so the components have them
    events["done"] = {"$ref": components.format(model=whole.__name__)}
    events["error"] = {"$ref": components.format(model="Problem")}
    description = (
        f"Server-Sent Events; the `data` of each event is one line of JSON. {order} The last event "
        "is `done` with the whole answer, or `error`. `x-events` has the schema of each event."
    )
    return {
        EVENT_STREAM: {"schema": {"type": "string", "description": description, "x-events": events}}
    }


def describe_answer_events() -> dict[str, Any]:
    """Return the stream of `POST /v1/ground` for OpenAPI's `content`."""
    order = (
        "`entity` events start with those of the prompt; the texts of all `token` events joined "
        "are `answer`."
    )
    return describe_events({"token": TokenEvent, "entity": EntityEvent}, AnswerBody, order)


def wants_events(request: Request, stream: bool | None) -> bool:
    """Return whether to answer with events: as `stream` states, otherwise as `Accept` prefers.

    Args:
        stream: the field of the request, `None` if it was not sent.

    Raises:
        NotAcceptable: the header excludes both forms.
    """
    if stream is not None:  # an explicit field wins over the header
        return stream
    accept = ", ".join(request.headers.getlist("accept"))
    response_type = preferred_type(accept, (JSON, EVENT_STREAM))
    if response_type is None:
        raise NotAcceptable(f"Accept must allow {JSON} or {EVENT_STREAM}")
    return response_type == EVENT_STREAM


@asynccontextmanager
async def _run_in_background(
    work: Work[Part, Whole],
) -> AsyncIterator[asyncio.Queue[Part | asyncio.Task[Whole]]]:
    """Run `work` during the block; yield a queue of its events, followed by its task."""
    # Unbounded, so that a slow client cannot block the work; the length of an answer is limited.
    items: asyncio.Queue[Part | asyncio.Task[Whole]] = asyncio.Queue()
    task = asyncio.create_task(work(items.put_nowait))
    task.add_done_callback(items.put_nowait)
    try:
        yield items
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _frames(
    first: Part | asyncio.Task[Whole],
    items: asyncio.Queue[Part | asyncio.Task[Whole]],
    forms: EventForms[Part, Whole],
    outcome: Outcome,
    request_id: str,
    keep_alive_s: float,
) -> AsyncGenerator[bytes]:
    outcome.name = "cancelled"  # overwritten below, unless the client disconnects first
    item: Part | asyncio.Task[Whole] | None = first
    while not isinstance(item, asyncio.Task):
        frame = KEEPALIVE_COMMENT if item is None else forms.part(item)
        if frame:
            yield frame
        item = await _next(items, keep_alive_s)
    try:
        answer = item.result()
    except Kosmos2Error as error:
        outcome.fail_midway(error)
        yield _error_frame(problem_of(error, request_id), outcome.door)
    else:
        outcome.complete(forms.finish_reason(answer))
        yield forms.done(answer)


async def _next(items: asyncio.Queue[Item], keep_alive_s: float) -> Item | None:
    """Return the next item, or `None` after `keep_alive_s`, before proxies drop the connection."""
    try:
        async with asyncio.timeout(keep_alive_s):
            return await items.get()
    except TimeoutError:
        return None


def _answer_part(event: AnswerEvent) -> bytes:
    if isinstance(event, NewText):
        return event_frame("token", TokenEvent.model_validate(event).model_dump())
    return event_frame("entity", EntityEvent.model_validate(event).model_dump())


def _answer_body(answer: Answer) -> bytes:
    return event_frame("done", AnswerBody.from_answer(answer).model_dump())


def _finish_reason(answer: Answer) -> FinishReason:
    return answer.grounded.finish_reason


ANSWER_EVENTS = EventForms(_answer_part, _answer_body, _finish_reason)
"""The events of `POST /v1/ground`."""
