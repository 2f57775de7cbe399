"""`kosmos2 ground`: runs one task on each picture."""

from collections.abc import Sequence
from pathlib import Path

from app.checkpoint.files import Checkpoint
from app.commands.offline import Call
from app.commands.pictures import Output, Report, run_pictures
from app.commands.plain_text import describe
from app.contract.request_models import GroundBody
from app.contract.response_models import AnswerBody
from app.grounding.answers import Answer, marks_of
from app.settings import Settings
from app.supervisor.engine_keeper import ENGINE_MODULE


def ground_pictures(
    settings: Settings,
    checkpoint: Checkpoint,
    pictures: Sequence[Path],
    body: GroundBody,
    output: Output,
    engine_module: str = ENGINE_MODULE,
) -> int:
    """Run the task on all pictures and return the exit code.

    Args:
        body: the request without its picture.
        engine_module: module of the engine process; tests pass one with known answers.
    """

    def call_for(image: bytes) -> Call[Answer]:
        request = body.to_request(image)
        return lambda service, context: service.ground(request, context)

    return run_pictures(settings, checkpoint, pictures, call_for, _report_of, output, engine_module)


def _report_of(answer: Answer) -> Report:
    body = AnswerBody.from_answer(answer).model_dump(mode="json")
    return Report(body, describe(body), marks_of(answer.grounded.entities, shows_scores=True))
