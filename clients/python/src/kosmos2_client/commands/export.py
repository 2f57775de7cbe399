"""`kosmos2-client export`: writes the answers of run files in the format of another tool."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kosmos2_client.batch.labels import Labels
from kosmos2_client.batch.options import split_classes
from kosmos2_client.errors import InvalidInput
from kosmos2_client.export.dataset import Dataset
from kosmos2_client.export.formats import FORMATS, Options
from kosmos2_client.export.run_index import read_index
from kosmos2_client.export.selection import Selection, read_thresholds
from kosmos2_client.export.yolo import DEFAULT_VAL_SHARE
from kosmos2_client.texts import listed

_OUTPUTS = ("out", "json", "sheet", "write_thresholds", "write_calibration")
"""Options of `export` and `evaluate` that name a file or a folder to write."""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> argparse.ArgumentParser:
    """Add the options of the command and return their parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "export",
        help="write the answers of a batch as COCO, YOLO, Label Studio, CSV or Parquet",
        description="Write the answers of a batch in the format of another tool. Boxes refer to "
        "the upright picture, unless --orientation is stored.",
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="run files; a later answer replaces one"
    )
    parser.add_argument("--format", required=True, choices=list(FORMATS))
    parser.add_argument(
        "--out", required=True, type=new_path, help="file to write; for yolo, a new folder"
    )
    add_selection(parser)
    parser.add_argument(
        "--orientation",
        choices=["upright", "stored"],
        default="upright",
        help="stored: turn boxes back, for tools that ignore the EXIF tag (default: upright)",
    )
    _add_options_of_formats(parser)
    return parser


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose classes and predictions."""
    classes = parser.add_mutually_exclusive_group()
    classes.add_argument(
        "--classes",
        metavar="A,B",
        help="classes to keep, in the order of their ids (default: all, sorted)",
    )
    classes.add_argument(
        "--classes-file", type=Path, metavar="FILE", help="the same, as `batch` reads them"
    )
    parser.add_argument(
        "--confidence", type=share, metavar="0…1", help="least confidence (default: 0)"
    )
    parser.add_argument(
        "--thresholds",
        type=Path,
        metavar="FILE",
        help="least confidence per class, as `evaluate --write-thresholds` writes it; --confidence "
        "applies to the others",
    )
    parser.add_argument(
        "--nms-iou",
        type=share,
        default=1.0,
        metavar="0…1",
        help="of two boxes that overlap more, keep the more confident one (default: keep both)",
    )
    parser.add_argument(
        "--class-agnostic",
        action="store_true",
        help="boxes of different classes also suppress each other",
    )


def _add_options_of_formats(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("options of single formats")
    group.add_argument(
        "--ids-from",
        type=Path,
        metavar="INSTANCES",
        help="coco-results: use the ids of this COCO dataset, to evaluate against it",
    )
    group.add_argument(
        "--image-prefix",
        default="",
        metavar="TEXT",
        help="label-studio: before each path, such as an address or /data/local-files/?d=pictures/",
    )
    group.add_argument(
        "--root", type=Path, help="yolo: folder of the run; links its pictures into images/"
    )
    group.add_argument("--copy", action="store_true", help="yolo: copy the pictures of --root")
    group.add_argument(
        "--val",
        type=share,
        default=DEFAULT_VAL_SHARE,
        metavar="0…1",
        help=f"yolo: part of the pictures for validation (default: {DEFAULT_VAL_SHARE})",
    )
    group.add_argument(
        "--with-confidence",
        action="store_true",
        help="yolo: add the confidence to each line; training rejects such files",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the export, and a summary to the standard error."""
    check_outputs(arguments)
    index = read_index(arguments.runs)
    dataset = Dataset(
        index,
        selection_of(arguments),
        classes_of(arguments) or sorted(index.classes),
        arguments.orientation,
    )
    notes = [*_notes(dataset), *_threshold_notes(dataset, arguments)]
    options = Options(
        ids_from=arguments.ids_from,
        image_prefix=arguments.image_prefix,
        root=arguments.root,
        copies=arguments.copy,
        val_share=arguments.val,
        with_confidence=arguments.with_confidence,
    )
    written = FORMATS[arguments.format](dataset, arguments.out, options)
    print(
        f"{arguments.out}: {written.num_boxes} boxes, {len(index.answered)} pictures; "
        f"without an answer: {len(index.failed)}",
        file=sys.stderr,
    )
    for note in (written.note, *notes):
        if note:
            print(f"note: {note}", file=sys.stderr)
    return 0


def classes_of(arguments: argparse.Namespace) -> list[str] | None:
    """Return the classes to keep, in the order of their ids; `None` keeps all."""
    if arguments.classes_file is not None:
        return list(Labels.read(arguments.classes_file).prompts)
    if arguments.classes is not None:
        return list(Labels.from_names(split_classes(arguments.classes)).prompts)
    return None


def selection_of(arguments: argparse.Namespace) -> Selection:
    """Return the selection that the options describe."""
    thresholds = {} if arguments.thresholds is None else read_thresholds(arguments.thresholds)
    confidence = arguments.confidence or 0.0
    return Selection(confidence, thresholds, arguments.nms_iou, arguments.class_agnostic)


def _notes(dataset: Dataset) -> Iterator[str]:
    """Yield what the user may have overlooked in `--classes`."""
    in_run = dataset.index.classes
    if unknown := [name for name in dataset.classes if name not in in_run]:
        yield f"the run has no class {listed(unknown)}"
    if dropped := sorted(in_run.difference(dataset.classes)):
        yield f"classes that are not exported: {listed(dropped)}"


def _threshold_notes(dataset: Dataset, arguments: argparse.Namespace) -> Iterator[str]:
    """Yield which classes `--thresholds` lacks.

    Raises:
        InvalidInput: they would be exported with all boxes, because neither the run nor the user
            chose a threshold.
    """
    index, known = dataset.index, dataset.selection.thresholds
    missing = [name for name in dataset.classes if name in index.classes and name not in known]
    if arguments.thresholds is None or not missing:
        return
    message = f"{arguments.thresholds} has no threshold for {listed(missing)}"
    if arguments.confidence is None and index.least_threshold <= 0:
        raise InvalidInput(f"{message}: choose --confidence for them, or omit them with --classes")
    lowest = max(dataset.selection.threshold, index.least_threshold)
    yield f"{message}: exported from a confidence of {lowest:g} on"


def new_path(text: str) -> Path:
    """Return the path of a file or folder to write."""
    path = Path(text)
    if path.name in ("", ".."):
        raise argparse.ArgumentTypeError(f"must name a new file or folder, not {text!r}")
    return path


def check_outputs(arguments: argparse.Namespace) -> None:
    """Check that no file to write is a file to read, or another file to write.

    Raises:
        InvalidInput: one is; it would be lost.
    """
    paths = {name: path for name, path in vars(arguments).items() if isinstance(path, Path)}
    written = [paths.pop(name) for name in _OUTPUTS if name in paths]
    used = {path.resolve() for path in (*paths.values(), *arguments.runs)}
    for path in written:
        if path.resolve() in used:
            raise InvalidInput(f"{path}: is another file of this command; name a new file")
        used.add(path.resolve())


def share(text: str) -> float:
    """Return a number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("must be from 0 to 1")
    return value
