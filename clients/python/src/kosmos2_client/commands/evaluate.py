"""`kosmos2-client evaluate`: compares the answers of run files with true boxes."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from kosmos2_client.commands.export import (
    add_selection,
    check_outputs,
    classes_of,
    new_path,
    selection_of,
)
from kosmos2_client.errors import InvalidInput
from kosmos2_client.evaluation import report, sheet
from kosmos2_client.evaluation.calibration_file import calibrate
from kosmos2_client.evaluation.evaluate import Comparison, Evaluation, compare, evaluate
from kosmos2_client.evaluation.truth import read_truth
from kosmos2_client.export.output import new_file
from kosmos2_client.export.run_index import RunIndex, read_index

_HIGH_THRESHOLD = 0.05
"""A run with a higher one lacks the predictions that a lower threshold would keep."""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> argparse.ArgumentParser:
    """Add the options of the command and return their parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "evaluate",
        help="compare the answers of a batch with true boxes, and find thresholds",
        description="Compare the answers of a batch with true boxes: precision, recall, F1, "
        "average precision and the best threshold per class.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run files")
    parser.add_argument(
        "--truth", required=True, type=Path, metavar="INSTANCES", help="a COCO dataset"
    )
    parser.add_argument(
        "--truth-orientation",
        choices=["upright", "stored"],
        default="upright",
        help="what the true boxes refer to (default: upright)",
    )
    add_selection(parser)
    parser.add_argument(
        "--json", type=new_path, metavar="FILE", help="also write the numbers as JSON"
    )
    parser.add_argument(
        "--sheet",
        type=new_path,
        metavar="FILE.html",
        help=f"draw the {sheet.MAX_PICTURES} worst pictures at the best thresholds; needs --root",
    )
    parser.add_argument("--root", type=Path, help="folder of the run, for --sheet")
    parser.add_argument(
        "--write-thresholds",
        type=new_path,
        metavar="FILE",
        help="write the best threshold of each class, for `export --thresholds`",
    )
    parser.add_argument(
        "--write-calibration",
        type=new_path,
        metavar="FILE",
        help="fit grounding_calibration.json to half of the pictures, and report it on the others",
    )
    parser.add_argument(
        "--base-calibration",
        type=Path,
        metavar="FILE",
        help="the grounding_calibration.json of the service that answered, if it has one",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Print the evaluation and write the files that the options name."""
    if (arguments.sheet is None) != (arguments.root is None):
        print("kosmos2-client: --sheet and --root need each other", file=sys.stderr)
        return 2
    if arguments.root is not None and not arguments.root.is_dir():
        raise InvalidInput(f"--root {arguments.root}: no such folder")
    check_outputs(arguments)
    index = read_index(arguments.runs)
    selection = selection_of(arguments)
    truth = read_truth(arguments.truth)
    comparison = compare(
        index, truth, selection, arguments.truth_orientation, classes_of(arguments)
    )
    evaluation = evaluate(comparison)
    calibration = ""
    try:
        calibration = _write(arguments, comparison, evaluation)
    finally:  # after the files, because `head` may close the output
        print(report.as_text(evaluation))
    if calibration:
        print(f"\n{calibration}")
    _warn(index)
    return 0


def _warn(index: RunIndex) -> None:
    if index.least_threshold > _HIGH_THRESHOLD:
        print(
            f"note: the run has no predictions below a confidence of {index.least_threshold:g}, so "
            "lower thresholds cannot be tried; run `batch --confidence 0` to try them",
            file=sys.stderr,
        )


def _write(arguments: argparse.Namespace, comparison: Comparison, evaluation: Evaluation) -> str:
    """Write the files that the options name, and return how well a calibration fits."""
    if arguments.json is not None:
        _write_json(arguments.json, report.as_json(evaluation))
    thresholds = report.thresholds(evaluation)
    if arguments.write_thresholds is not None:
        _write_json(arguments.write_thresholds, thresholds)
    if arguments.sheet is not None:
        worst = sheet.worst_pictures(comparison.pictures(), thresholds)
        with new_file(arguments.sheet) as file:
            file.write(sheet.as_html(worst, arguments.root, arguments.sheet))
    if arguments.write_calibration is None:
        return ""
    calibrated = calibrate(comparison, arguments.base_calibration)
    _write_json(arguments.write_calibration, calibrated.content)
    return calibrated.as_text()


def _write_json(path: Path, content: Any) -> None:
    with new_file(path) as file:
        file.write(json.dumps(content, indent=2) + "\n")
