"""Runs a request for each picture file, prints each answer when it is complete, saves drawings."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from app.checkpoint.files import Checkpoint
from app.commands.drawing_files import MEDIA_TYPES, drawing_files
from app.commands.offline import Call, answer_all
from app.errors import RequestError
from app.pictures.drawing.annotator import Annotator
from app.pictures.marks import Mark
from app.settings import Settings
from app.supervisor.engine_keeper import ENGINE_MODULE
from app.supervisor.termination import run_until_signal

A = TypeVar("A")


@dataclass(frozen=True)
class Output:
    """The forms in which answers are written.

    Attributes:
        as_json: whether each answer is printed as a line of JSON.
        drawings: the file for the drawing of each picture; `None` saves nothing.
    """

    as_json: bool
    drawings: Sequence[Path] | None


def output_of(*, as_json: bool, save_annotated: Path | None, pictures: Sequence[Path]) -> Output:
    """Return the forms that the options of a command choose; see `drawing_files`."""
    files = None if save_annotated is None else drawing_files(save_annotated, pictures)
    return Output(as_json, files)


@dataclass(frozen=True)
class Report:
    """What is shown of an answer.

    Attributes:
        body: the answer as JSON.
        text: the answer for a person.
        marks: its boxes, in pixels.
    """

    body: dict[str, Any]
    text: str
    marks: Sequence[Mark]


def run_pictures(
    settings: Settings,
    checkpoint: Checkpoint,
    pictures: Sequence[Path],
    call_for: Callable[[bytes], Call[A]],
    report_of: Callable[[A], Report],
    output: Output,
    engine_module: str = ENGINE_MODULE,
) -> int:
    """Answer one request per picture; an error of one picture does not stop the others.

    Args:
        call_for: returns the request for a picture's file.
        report_of: returns what is shown of an answer.
        engine_module: module of the engine process; tests pass one with known answers.

    Returns:
        The exit code: 1 if the request failed for a picture, otherwise 0.
    """
    calls = [call_for(path.read_bytes()) for path in pictures]
    console, num_failed = Console(stderr=True), 0
    annotator = Annotator(settings.max_image_pixels)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=len(calls) == 1) as bar:
        progress = bar.add_task("pictures", total=len(calls))

        def show(number: int, answer: A | RequestError) -> None:
            nonlocal num_failed
            path = pictures[number]
            if isinstance(answer, RequestError):
                num_failed += 1
                print(f"{path}: {answer}", file=sys.stderr)
            else:
                report = report_of(answer)
                _print(output, path, report, is_alone=len(pictures) == 1)
                if output.drawings is not None:
                    _save(annotator, path, report.marks, output.drawings[number])
            bar.advance(progress)

        run_until_signal(answer_all(settings, checkpoint, calls, show, engine_module))
    return 1 if num_failed else 0


def _print(output: Output, path: Path, report: Report, *, is_alone: bool) -> None:
    if output.as_json:
        content = {"picture": str(path)} | report.body
        print(json_line(content, sys.stdout.encoding), flush=True)
    else:
        heading = "" if is_alone else f"{path}\n"
        print(heading + report.text, flush=True)


def json_line(content: dict[str, Any], encoding: str) -> str:
    """Return JSON that an output with this encoding can print."""
    # Escape as JSON where the output cannot encode a character: Python's escapes are not JSON.
    return json.dumps(content, ensure_ascii=not encoding.lower().startswith("utf"))


def _save(annotator: Annotator, path: Path, marks: Sequence[Mark], file: Path) -> None:
    media_type = MEDIA_TYPES[file.suffix.lower()]
    file.write_bytes(annotator.annotate(path.read_bytes(), marks, media_type, "pixel"))
