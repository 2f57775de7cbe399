"""Answers as Server-Sent Events: each part of an answer as soon as it is final."""

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
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # the latter for nginx

Work = Callable[[EventHandler], Coroutine[Any, Any, Answer]]
"""Makes an answer and hands its parts to the handler."""

Item = AnswerEvent | asyncio.Task[Answer]
"""A part of an answer, or, behind the last of them, the work that is done."""


async def respond_with_events(
    request: Request,
    work: Work,
    outcome: Outcome,
    lifetime: AsyncExitStack,
    keep_alive_s: float = KEEP_ALIVE_S,
) -> Response:
    """Start to work, and respond once there is a first event.

    Until then a failure is an ordinary error. The work does not wait for the client to read, so a
    slow one holds none of the service's places; it ends when the client leaves.

    Args:
        request: what is answered.
        work: makes the answer.
        outcome: is told how it ends.
        lifetime: of the request.
        keep_alive_s: after so long without an event a comment is sent.

    Raises:
        Kosmos2Error: the work failed before its first event.
        ClientLeft: the client has closed the connection.
    """
    items = await lifetime.enter_async_context(_run_in_background(work))
    first = await while_connected(request, items.get())
    if isinstance(first, asyncio.Task):
        first.result()
    frames = aclosing(_frames(first, items, outcome, request.state.request_id, keep_alive_s))
    return EventSourceResponse(await lifetime.enter_async_context(frames), headers=_HEADERS)


def internal_error_frame(request_id: str) -> bytes:
    """The last event of a stream that ends with what nobody foresaw."""
    problem = problem_of_kind(INTERNAL_ERROR, INTERNAL_ERROR_DETAIL, request_id)
    return _frame("error", problem.model_dump(exclude_none=True))


def describe_events() -> dict[str, Any]:
    """The stream as OpenAPI's `content` has it; OpenAPI 3.1 has no words for single events."""
    components = "#/components/schemas/{model}"
    token = TokenEvent.model_json_schema(ref_template=components)
    entity = EntityEvent.model_json_schema(ref_template=components)
    del entity["$defs"]  # part of the answer too, so among the components
    events = {
        "token": token,
        "entity": entity,
        "done": {"$ref": components.format(model="AnswerBody")},
        "error": {"$ref": components.format(model="Problem")},
    }
    description = (
        "Server-Sent Events, the `data` of each one line of JSON: `entity`, those of the prompt "
        "first; `token`, whose texts joined are `answer`; `done`, the whole answer, or `error`. "
        "`x-events` has the schema of each."
    )
    return {
        EVENT_STREAM: {"schema": {"type": "string", "description": description, "x-events": events}}
    }


@asynccontextmanager
async def _run_in_background(work: Work) -> AsyncIterator[asyncio.Queue[Item]]:
    """Run the work while the block lasts; its events, then its task, go into the queue."""
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
    outcome.name = "cancelled"  # unless it comes to its end
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
    """The next item; none if it is so long in coming that the connection might be thought dead."""
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
    # ASCII, for readers to whom U+2028 and its like end a line too, such as Python's `splitlines`.
    return format_sse_event(event=name, data_str=json.dumps(data, ensure_ascii=True))
