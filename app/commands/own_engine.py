"""Runs a batch with an engine of its own, without a server."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.checkpoint.files import Checkpoint
from app.commands.offline import new_context, running_service
from app.contract.detect_models import DetectBody, DetectionsBody
from app.contract.request_models import GroundBody
from app.contract.response_models import AnswerBody
from app.contract.text_fields import fields_of_texts
from app.contract.validation import validate
from app.errors import Kosmos2Error, Overloaded, Unavailable
from app.grounding.requests import CallContext
from app.http.problems import problem_of
from app.service import Service
from app.settings import Settings
from app.supervisor.engine_keeper import ENGINE_MODULE
from kosmos2_client import Kosmos2ClientError
from kosmos2_client import replies as client_replies
from kosmos2_client.batch.run import BatchRun


class EngineEnded(Kosmos2ClientError):
    """The engine ended, and nothing restarts it."""


@dataclass(frozen=True)
class EngineAnswerer:
    """Answers requests as a running service would, with the same errors.

    Attributes:
        settings: have the time limit of a request.
    """

    service: Service
    settings: Settings

    async def answer(self, image: bytes, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the answer to a request; see `kosmos2_client.batch.request.Answerer`."""
        context = new_context(self.settings)
        try:
            return await self._answer(image, fields, context)
        except Unavailable as error:
            raise EngineEnded(str(error)) from None
        except Kosmos2Error as error:
            problem = problem_of(error, context.request_id)
            wait_s = error.retry_after_s if isinstance(error, Overloaded) else None
            content = problem.model_dump(exclude_none=True)
            raise client_replies.problem_of(problem.status, content, wait_s) from None

    async def _answer(
        self, image: bytes, fields: Mapping[str, Any], context: CallContext
    ) -> Mapping[str, Any]:
        texts = {name: value for name, value in fields.items() if isinstance(value, str)}
        values = {**fields, **fields_of_texts(texts)}
        if "classes" in fields:
            detect = validate(DetectBody, values, strict=False).to_request(image)
            found = await self.service.detect(detect, context)
            return DetectionsBody.from_detections(found).to_json()
        ground = validate(GroundBody, values, strict=False).to_request(image)
        answer = await self.service.ground(ground, context)
        return AnswerBody.from_answer(answer).model_dump(mode="json")


async def run_with_engine(
    run: BatchRun, settings: Settings, checkpoint: Checkpoint, engine_module: str = ENGINE_MODULE
) -> int:
    """Run the pictures with an engine of this command and return the exit code.

    Args:
        engine_module: module of the engine process; tests pass one with known answers.

    Raises:
        StartupError: the engine did not start.
        Kosmos2ClientError: see `BatchRun.run`; OSError as well.
    """
    async with running_service(settings, checkpoint, engine_module) as (service, num_slots):
        # More requests at once would only wait in the engine.
        limited = replace(run, max_concurrency=min(run.max_concurrency, num_slots))
        return await limited.run(EngineAnswerer(service, settings))
