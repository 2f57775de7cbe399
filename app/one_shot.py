"""One request without a server: an engine is started for it and stopped after it."""

import uuid

from app.answers import Answer
from app.checkpoint import Checkpoint
from app.metrics import HttpMetrics
from app.service import GroundRequest, Service
from app.settings import Settings
from app.supervisor import running_engine
from app.tokenizer import Kosmos2Tokenizer


async def ground_once(
    settings: Settings, checkpoint: Checkpoint, request: GroundRequest, received_at: float
) -> Answer:
    """Answer one request.

    Args:
        settings: of the engine.
        checkpoint: what answers.
        request: what is asked.
        received_at: on the monotonic clock; the timings count from there, the start included.

    Raises:
        Kosmos2Error: the engine did not start, or the request is at fault.
    """
    async with running_engine(settings, checkpoint) as engine:
        service = Service(
            settings,
            checkpoint,
            Kosmos2Tokenizer.load(checkpoint.directory),
            engine,
            HttpMetrics(),
        )
        return await service.ground(request, request_id=uuid.uuid4().hex, received_at=received_at)
