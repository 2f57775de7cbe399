"""Answers requests without a server: starts an engine, answers all requests, stops the engine."""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from uuid import uuid4

from app.checkpoint.files import Checkpoint
from app.errors import RequestError
from app.grounding.answers import Answer
from app.grounding.requests import CallContext, GroundRequest
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.admission import Admission
from app.pictures.workers.pool import PicturePool
from app.service import Service
from app.settings import Settings
from app.supervisor.lone_engine import running_engine
from app.telemetry.metrics import HttpMetrics
from app.telemetry.timeline import Timeline

AnswerHandler = Callable[[int, Answer | RequestError], None]
"""Called with the index of a request and with its answer or its error."""


async def ground_all(
    settings: Settings,
    checkpoint: Checkpoint,
    requests: Sequence[GroundRequest],
    on_answer: AnswerHandler,
) -> None:
    """Answer requests, as many in parallel as the engine has slots.

    Args:
        on_answer: called when a request ends, so in no fixed order.

    Raises:
        StartupError: the engine did not start.
        ServiceError: the engine failed.
        Exception: any exception that `on_answer` raises; it cancels the remaining requests.
    """
    async with (
        running_engine(settings, checkpoint) as engine,
        PicturePool(settings) as pictures,
    ):
        tokenizer = Kosmos2Tokenizer.load(checkpoint.directory)
        admission = Admission(engine.state, worker=0)
        service = Service(
            settings, checkpoint, tokenizer, admission, engine, pictures, HttpMetrics()
        )
        slots = asyncio.Semaphore(engine.state.engine_facts.num_slots)

        async def answer(number: int, request: GroundRequest) -> None:
            async with slots:
                began = monotonic()
                try:
                    result: Answer | RequestError = await service.ground(
                        request,
                        CallContext(uuid4().hex, Timeline(began), began + settings.deadline_s),
                    )
                except RequestError as error:
                    result = error
                on_answer(number, result)

        try:
            async with asyncio.TaskGroup() as tasks:
                for number, request in enumerate(requests):
                    tasks.create_task(answer(number, request))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
