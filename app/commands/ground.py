"""`kosmos2 ground`: runs one task on each picture and prints each answer when it is complete."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from app.checkpoint.files import Checkpoint
from app.commands.offline import ground_all
from app.commands.plain_text import describe
from app.contract.request_models import GroundBody
from app.contract.response_models import AnswerBody
from app.errors import RequestError
from app.grounding.answers import Answer, marks_of
from app.pictures.drawing.annotator import Annotator
from app.pictures.marks import MediaType
from app.settings import Settings

_MEDIA_TYPES: dict[str, MediaType] = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}


@dataclass(frozen=True)
class GroundOptions:
    """Options of `kosmos2 ground`.

    Attributes:
        body: the request without its picture.
        as_json: whether each answer is printed as a line of JSON.
        save_annotated: file for the picture with its boxes, or directory for several pictures;
            `None` saves nothing.
    """

    pictures: Sequence[Path]
    body: GroundBody
    as_json: bool
    save_annotated: Path | None


def ground_pictures(settings: Settings, checkpoint: Checkpoint, options: GroundOptions) -> int:
    """Run the task on all pictures; an error of one picture does not stop the others.

    Returns:
        The exit code: 1 if the task failed for a picture, otherwise 0.
    """
    requests = [options.body.to_request(path.read_bytes()) for path in options.pictures]
    console, num_failed = Console(stderr=True), 0
    annotator = Annotator(settings.max_image_pixels)
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console) as bar:
        progress = bar.add_task("pictures", total=len(requests), visible=len(requests) > 1)

        def show(number: int, answer: Answer | RequestError) -> None:
            nonlocal num_failed
            path = options.pictures[number]
            if isinstance(answer, RequestError):
                num_failed += 1
                print(f"{path}: {answer}", file=sys.stderr)
            else:
                _print(options, path, answer)
                _save(annotator, options, path, answer)
            bar.advance(progress)

        asyncio.run(ground_all(settings, checkpoint, requests, show))
    return 1 if num_failed else 0


def _print(options: GroundOptions, path: Path, answer: Answer) -> None:
    body = AnswerBody.from_answer(answer).model_dump(mode="json")
    if options.as_json:
        # Escape as JSON where the output cannot encode a character: Python's escapes are not JSON.
        is_unicode = sys.stdout.encoding.lower().startswith("utf")
        line = json.dumps({"picture": str(path)} | body, ensure_ascii=not is_unicode)
        print(line, flush=True)
    else:
        heading = f"{path}\n" if len(options.pictures) > 1 else ""
        print(heading + describe(body), flush=True)


def _save(annotator: Annotator, options: GroundOptions, path: Path, answer: Answer) -> None:
    target = options.save_annotated
    if target is None:
        return
    if len(options.pictures) > 1 or target.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        target = target / f"{path.stem}.png"
    marks = marks_of(answer.grounded.entities, shows_scores=True)
    media_type = _MEDIA_TYPES.get(target.suffix.lower(), "image/png")
    target.write_bytes(annotator.annotate(path.read_bytes(), marks, media_type, "pixel"))
