"""Answers requests without a server: an engine is started for them and stopped after them."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from time import monotonic

from app.checkpoint import Checkpoint
from app.errors import RequestError
from app.grounding.answers import Answer
from app.grounding.requests import GroundRequest
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.pictures.workers.pool import PicturePool
from app.service import Service
from app.settings import Settings
from app.supervisor.lone_engine import running_engine
from app.telemetry.metrics import HttpMetrics
from app.telemetry.timeline import Timeline

Listener = Callable[[int, Answer | RequestError], None]
"""Is told the number of a request and what came of it."""


async def ground_all(
    settings: Settings,
    checkpoint: Checkpoint,
    requests: Sequence[GroundRequest],
    listener: Listener,
) -> None:
    """Answer requests, as many at once as the engine has slots.

    Args:
        settings: of the engine and its limits.
        checkpoint: what answers.
        requests: what is asked.
        listener: is told of each as it is done, in no order.

    Raises:
        StartupError: the engine did not start.
        ServiceError: it failed.
    """
    async with (
        running_engine(settings, checkpoint) as engine,
        PicturePool(settings) as pictures,
    ):
        tokenizer = Kosmos2Tokenizer.load(checkpoint.directory)
        service = Service(settings, checkpoint, tokenizer, engine, pictures, HttpMetrics())
        places = asyncio.Semaphore(engine.state.engine_facts.num_slots)

        async def answer(number: int, request: GroundRequest) -> None:
            async with places:
                began = monotonic()
                try:
                    answered: Answer | RequestError = await service.ground(
                        request,
                        request_id=uuid.uuid4().hex,
                        timeline=Timeline(began),
                        deadline=began + settings.deadline_s,
                    )
                except RequestError as error:
                    answered = error
                listener(number, answered)

        async with asyncio.TaskGroup() as tasks:
            for number, request in enumerate(requests):
                tasks.create_task(answer(number, request))
