"""`kosmos2 detect`: finds the objects of given classes in each picture."""

from collections.abc import Sequence
from pathlib import Path

from app.checkpoint.files import Checkpoint
from app.commands.offline import Call
from app.commands.pictures import Output, Report, run_pictures
from app.commands.plain_text import describe_detections
from app.contract.detect_models import DetectBody, DetectionsBody
from app.detect.predictions import Detections, marks_of_predictions
from app.settings import Settings


def detect_pictures(
    settings: Settings,
    checkpoint: Checkpoint,
    pictures: Sequence[Path],
    body: DetectBody,
    output: Output,
) -> int:
    """Run the detection on all pictures and return the exit code.

    Args:
        body: the request without its picture.
    """

    def call_for(image: bytes) -> Call[Detections]:
        request = body.to_request(image)
        return lambda service, context: service.detect(request, context)

    return run_pictures(settings, checkpoint, pictures, call_for, _report_of, output)


def _report_of(detections: Detections) -> Report:
    body = DetectionsBody.from_detections(detections).to_json()
    return Report(body, describe_detections(body), marks_of_predictions(detections))
