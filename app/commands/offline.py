"""Answers requests without a server: starts an engine, answers all requests, stops the engine."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import TypeVar
from uuid import uuid4

from app.checkpoint.files import Checkpoint
from app.errors import RequestError
from app.grounding.requests import CallContext
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.admission import Admission
from app.pictures.workers.pool import PicturePool
from app.service import Service
from app.settings import Settings
from app.supervisor.engine_keeper import ENGINE_MODULE
from app.supervisor.lone_engine import running_engine
from app.telemetry.metrics import HttpMetrics
from app.telemetry.timeline import Timeline

A = TypeVar("A")

Call = Callable[[Service, CallContext], Awaitable[A]]
"""Sends one request to the service."""

AnswerHandler = Callable[[int, A | RequestError], None]
"""Called with the index of a request and with its answer or its error."""


@asynccontextmanager
async def running_service(
    settings: Settings, checkpoint: Checkpoint, engine_module: str = ENGINE_MODULE
) -> AsyncIterator[tuple[Service, int]]:
    """Start an engine for the block, and yield a service in this process and its number of slots.

    Args:
        engine_module: module of the engine process; tests pass one with known answers.

    Raises:
        StartupError: the engine did not start.
    """
    async with AsyncExitStack() as stack:
        # The engine takes seconds to start, and the picture processes start meanwhile.
        starting = asyncio.create_task(stack.enter_async_context(PicturePool(settings)))
        try:
            running = running_engine(settings, checkpoint, engine_module)
            engine = await stack.enter_async_context(running)
        finally:
            pictures = await starting
        tokenizer = Kosmos2Tokenizer.load(checkpoint.directory)
        admission = Admission(engine.state, worker=0)
        service = Service(
            settings, checkpoint, tokenizer, admission, engine, pictures, HttpMetrics()
        )
        yield service, engine.state.engine_facts.num_slots


def new_context(settings: Settings) -> CallContext:
    """Return the context of a request that begins now."""
    began = monotonic()
    return CallContext(uuid4().hex, Timeline(began), began + settings.deadline_s)


async def answer_all(
    settings: Settings,
    checkpoint: Checkpoint,
    calls: Sequence[Call[A]],
    on_answer: AnswerHandler[A],
    engine_module: str = ENGINE_MODULE,
) -> None:
    """Answer requests, as many in parallel as the engine has slots.

    Args:
        on_answer: called when a request ends, so in no fixed order.
        engine_module: module of the engine process; tests pass one with known answers.

    Raises:
        StartupError: the engine did not start.
        ServiceError: the engine failed.
        Exception: any exception that `on_answer` raises; it cancels the remaining requests.
    """
    async with running_service(settings, checkpoint, engine_module) as (service, num_slots):
        # More requests at once would be rejected as soon as the queue is full.
        slots = asyncio.Semaphore(num_slots)

        async def answer(number: int, call: Call[A]) -> None:
            async with slots:
                try:
                    result: A | RequestError = await call(service, new_context(settings))
                except RequestError as error:
                    result = error
                on_answer(number, result)

        try:
            async with asyncio.TaskGroup() as tasks:
                for number, call in enumerate(calls):
                    tasks.create_task(answer(number, call))
        except ExceptionGroup as group:
            # A group would hide the class of the error, from which the command line reads the exit
            # code.
            raise group.exceptions[0] from None
