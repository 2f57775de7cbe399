"""Sends answers as Server-Sent Events: each part of an answer as soon as it is final."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

from fastapi import Request, Response
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event

from app.contract.response_models import AnswerBody, EntityEvent, TokenEvent
from app.errors import Kosmos2Error
from app.grounding.answers import Answer, AnswerEvent, NewText
from app.http.connection import while_connected
from app.http.outcomes import Outcome
from app.http.problems import (
    INTERNAL_ERROR,
    INTERNAL_ERROR_DETAIL,
    problem_of,
    problem_of_kind,
)
from app.service import EventHandler

EVENT_STREAM = "text/event-stream"
KEEP_ALIVE_S = 15.0
# `X-Accel-Buffering` keeps nginx from collecting events before it forwards them.
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

Work = Callable[[EventHandler], Coroutine[Any, Any, Answer]]
"""Produces an answer and passes its parts to the handler."""

Item = AnswerEvent | asyncio.Task[Answer]
"""A part of an answer; after the last part, the finished task."""


async def respond_with_events(
    request: Request,
    work: Work,
    outcome: Outcome,
    lifetime: AsyncExitStack,
    keep_alive_s: float = KEEP_ALIVE_S,
) -> Response:
    """Start `work`, and return the response once the first event is ready.

    A failure before the first event is an ordinary error. `work` does not wait for the client to
    read, so a slow client occupies no capacity; `work` is cancelled when the client disconnects.

    Args:
        outcome: set when the stream ends.
        keep_alive_s: after this time without an event, a comment is sent.

    Raises:
        Kosmos2Error: `work` failed before its first event.
        ClientDisconnected: the client closed the connection before the first event.
    """
    items = await lifetime.enter_async_context(_run_in_background(work))
    first = await while_connected(request, items.get())
    if isinstance(first, asyncio.Task):
        first.result()
    frames = aclosing(_frames(first, items, outcome, request.state.request_id, keep_alive_s))
    return EventSourceResponse(await lifetime.enter_async_context(frames), headers=_HEADERS)


def internal_error_frame(request_id: str) -> bytes:
    """Return the last event of a stream that ends with an unexpected exception."""
    problem = problem_of_kind(INTERNAL_ERROR, INTERNAL_ERROR_DETAIL, request_id)
    return _frame("error", problem.model_dump(exclude_none=True))


def describe_events() -> dict[str, Any]:
    """Return the stream for OpenAPI's `content`; `x-events`, since 3.1 cannot describe events."""
    components = "#/components/schemas/{model}"
    token = TokenEvent.model_json_schema(ref_template=components)
    entity = EntityEvent.model_json_schema(ref_template=components)
    del entity["$defs"]  # the answer uses the same schemas, so the components have them
    events = {
        "token": token,
        "entity": entity,
        "done": {"$ref": components.format(model="AnswerBody")},
        "error": {"$ref": components.format(model="Problem")},
    }
    description = (
        "Server-Sent Events; the `data` of each event is one line of JSON. `entity` events start "
        "with those of the prompt; the texts of all `token` events joined are `answer`; the last "
        "event is `done` with the whole answer, or `error`. `x-events` has the schema of each "
        "event."
    )
    return {
        EVENT_STREAM: {"schema": {"type": "string", "description": description, "x-events": events}}
    }


@asynccontextmanager
async def _run_in_background(work: Work) -> AsyncIterator[asyncio.Queue[Item]]:
    """Run `work` during the block; yield a queue of its events, followed by its task."""
    # Unbounded, so that a slow client cannot block the work; the length of an answer is limited.
    items: asyncio.Queue[Item] = asyncio.Queue()
    task = asyncio.create_task(work(items.put_nowait))
    task.add_done_callback(items.put_nowait)
    try:
        yield items
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _frames(
    first: Item,
    items: asyncio.Queue[Item],
    outcome: Outcome,
    request_id: str,
    keep_alive_s: float,
) -> AsyncGenerator[bytes]:
    outcome.name = "cancelled"  # overwritten below, unless the client disconnects first
    item: Item | None = first
    while not isinstance(item, asyncio.Task):
        yield KEEPALIVE_COMMENT if item is None else _frame_of(item)
        item = await _next(items, keep_alive_s)
    try:
        answer = item.result()
    except Kosmos2Error as error:
        outcome.fail_midway(error)
        yield _frame("error", problem_of(error, request_id).model_dump(exclude_none=True))
    else:
        outcome.complete(answer.grounded.finish_reason)
        yield _frame("done", AnswerBody.from_answer(answer).model_dump())


async def _next(items: asyncio.Queue[Item], keep_alive_s: float) -> Item | None:
    """Return the next item, or `None` after `keep_alive_s`, before proxies drop the connection."""
    try:
        async with asyncio.timeout(keep_alive_s):
            return await items.get()
    except TimeoutError:
        return None


def _frame_of(event: AnswerEvent) -> bytes:
    if isinstance(event, NewText):
        return _frame("token", TokenEvent.model_validate(event).model_dump())
    return _frame("entity", EntityEvent.model_validate(event).model_dump())


def _frame(name: str, data: dict[str, Any]) -> bytes:
    # ASCII: some readers, such as Python's `splitlines`, also end a line at U+2028 and the like.
    return format_sse_event(event=name, data_str=json.dumps(data, ensure_ascii=True))
