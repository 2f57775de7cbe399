"""Writes an evaluation as a table for people and as JSON for programs."""

from collections.abc import Iterator
from typing import Any

from kosmos2_client.evaluation.evaluate import ClassReport, Evaluation
from kosmos2_client.evaluation.tally import Quality
from kosmos2_client.texts import listed

ALL = "all classes"
_HEADER = ("class", "objects", "AP", "AP50", "P", "R", "F1", "best at", "P", "R", "F1", "held out")
DIGITS = 4


def as_text(evaluation: Evaluation) -> str:
    """Return a table with one line per class, and notes on how to read it."""
    reports = {**evaluation.by_class, ALL: evaluation.overall}
    table = [_HEADER, *(_cells(name, report) for name, report in reports.items())]
    widths = [max(len(row[column]) for row in table) for column in range(len(_HEADER))]
    lines = [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    ]
    return "\n".join([*(line.rstrip() for line in lines), "", *_notes(evaluation)])


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return the same numbers as JSON."""
    return {
        "pictures": evaluation.num_pictures,
        "pictures_without_answer": evaluation.num_failed,
        "pictures_not_in_run": evaluation.num_unused,
        "classes_not_in_run": list(evaluation.unused_classes),
        "classes_without_objects": list(evaluation.unlabelled_classes),
        "classes": {name: _report(report) for name, report in evaluation.by_class.items()},
        "all": _report(evaluation.overall),
    }


def thresholds(evaluation: Evaluation) -> dict[str, float]:
    """Return the best threshold of each class that the pictures contain."""
    return {
        name: report.best.threshold for name, report in evaluation.by_class.items() if report.wanted
    }


def _cells(name: str, report: ClassReport) -> tuple[str, ...]:
    kept, best = report.kept, report.best
    return (
        name,
        str(report.wanted),
        _number(report.average_precision),
        _number(report.average_precision_50),
        *map(_number, (kept.precision, kept.recall, kept.f1)),
        *map(_number, (best.threshold, best.precision, best.recall, best.f1)),
        _number(None if report.held_out is None else report.held_out.f1),
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _notes(evaluation: Evaluation) -> Iterator[str]:
    yield (
        "AP: average precision, mean over IoU 0.5 to 0.95; all other columns at IoU 0.5. First P, "
        "R, F1: of all predictions; then at the threshold with the best F1. Held out: F1 of each "
        "half of the pictures at the threshold of the other half."
    )
    yield (
        f"{evaluation.num_pictures} pictures, {evaluation.num_failed} of them without an answer, "
        f"which count as nothing found. {evaluation.num_unused} pictures of the truth are not in "
        "the run."
    )
    if evaluation.unused_classes:
        names = listed(evaluation.unused_classes)
        yield f"Classes of the truth that are not in the run: {names}"
    if evaluation.unlabelled_classes:
        names = listed(evaluation.unlabelled_classes)
        yield f"Classes of the run without an object in the truth, which get no threshold: {names}"


def _report(report: ClassReport) -> dict[str, Any]:
    return {
        "objects": report.wanted,
        "average_precision": _rounded(report.average_precision),
        "average_precision_50": _rounded(report.average_precision_50),
        "all_predictions": _quality(report.kept),
        "best": {"threshold": report.best.threshold, **_quality(report.best)},
        "held_out": None if report.held_out is None else _quality(report.held_out),
    }


def _quality(quality: Quality) -> dict[str, float]:
    values = {"precision": quality.precision, "recall": quality.recall, "f1": quality.f1}
    return {name: round(value, DIGITS) for name, value in values.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
