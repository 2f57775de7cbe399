"""Chooses each part of a calibration, and checks it on other scenes.

Where a part is fitted, the choice between its variants is a twofold cross-validation: fitted on the
scenes with even numbers and checked on the others, and vice versa. The result is fitted on all.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from app.checkpoint.calibration import Calibration, Curve
from app.pictures.marks import Box
from training.answering import GeneratedBox
from training.confidence_measures import LEAST_AREAS
from training.confidence_questions import ClassQuestion, Grounded
from training.detections import Detection, best_threshold, detect, f1_at
from training.fitting import log_loss, logistic, monotone_curve
from training.measured_scenes import CLEAN
from training.metrics import calibration_error, iou, mean, roc_auc

EXPONENTS = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 1.0)
NEIGHBOUR_SHARES = (0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
FULL_OVERLAPS = (1.0, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.5, 0.4)
"""The neutral one is the first, so that it wins if all are equal."""

Report = dict[str, Any]
Item = TypeVar("Item")
Probe = tuple[ClassQuestion, tuple[float, float]]
"""A class, and the log probabilities of yes and of no."""


@dataclass(frozen=True)
class Measurements:
    """What the checkpoint answered, before anything is chosen.

    Attributes:
        grounded: answers with boxes, on clean and on harder scenes.
        questions: classes of the class lists.
        log_odds: of yes and no to each of several wordings, for each class.
        boxes: that each of several wordings forces, for each class.
    """

    grounded: list[Grounded]
    questions: list[ClassQuestion]
    log_odds: dict[str, list[tuple[float, float]]]
    boxes: dict[str, list[tuple[GeneratedBox, ...]]]


def calibrate(measurements: Measurements) -> tuple[Calibration, Report]:
    """Return the calibration, and how each part of it was chosen and checked."""
    calibration = Calibration(is_measured=True)
    report: Report = {}
    grounded = measurements.grounded
    exponents = {e: replace(calibration, cell_exponent=e) for e in EXPONENTS}
    calibration, report["cell_exponent"] = choose_by_fit(exponents, grounded)
    shares = {s: replace(calibration, neighbour_share=s) for s in NEIGHBOUR_SHARES}
    calibration, report["neighbour_share"] = choose_by_fit(shares, grounded)
    calibration, report["full_overlap"] = choose_full_overlap(calibration, grounded)
    calibration, report["confidence_curve"] = choose_curve(calibration, grounded)
    calibration, report["presence"] = choose_presence(calibration, measurements)
    calibration, report["detection"] = choose_detection(calibration, measurements)
    return calibration, report


def choose_by_fit(
    candidates: Mapping[float, Calibration], grounded: Sequence[Grounded]
) -> tuple[Calibration, Report]:
    """Choose the value whose calibration gives the best mean IoU of refined boxes, clean scenes."""
    clean = [one for one in grounded if one.kind == CLEAN]
    means = {value: round(mean_iou(clean, one), 4) for value, one in candidates.items()}
    best = max(means, key=lambda value: means[value])
    report = {"mean_iou": {f"{value:g}": fit for value, fit in means.items()}}
    return candidates[best], report


def choose_full_overlap(
    calibration: Calibration, grounded: Sequence[Grounded]
) -> tuple[Calibration, Report]:
    """Choose the overlap whose confidence separates right boxes from wrong ones best.

    The curve cannot: it keeps their order.
    """
    report = {}
    for value in FULL_OVERLAPS:
        candidate = replace(calibration, full_overlap=value)
        kinds = [confidences(some, candidate) for some in _by_difficulty(grounded)]
        areas = [_area(pairs, least) for pairs in kinds for least in LEAST_AREAS]
        report[value] = round(mean([area for area in areas if not math.isnan(area)]), 4)
    best = max(report, key=lambda value: report[value])
    return replace(calibration, full_overlap=best), {
        "mean_roc_auc": {f"{value:g}": area for value, area in report.items()}
    }


def _area(pairs: Sequence[tuple[float, float]], least_iou: float) -> float:
    """Return the area under the ROC curve of confidences; not a number if all boxes are alike."""
    return roc_auc([c for c, _ in pairs], [overlap >= least_iou for _, overlap in pairs])


def choose_curve(
    calibration: Calibration, grounded: Sequence[Grounded]
) -> tuple[Calibration, Report]:
    """Fit the curve; keep it only if it lowers the calibration error on other scenes."""

    def fit(some: Sequence[Grounded]) -> Calibration:
        return replace(calibration, confidence_curve=_curve(calibration, some))

    before: list[dict[str, float]] = []
    after: list[dict[str, float]] = []
    for fitted, checked in _folds(grounded, lambda one: one.scene):
        before.append(calibration_errors(checked, calibration))
        after.append(calibration_errors(checked, fit(fitted)))
    report = {
        "calibration_error_without": _mean_of_folds(before),
        "calibration_error": _mean_of_folds(after),
    }
    helps = sum(sum(fold.values()) for fold in after) < sum(sum(fold.values()) for fold in before)
    return (fit(grounded) if helps else calibration), report | {"is_used": helps}


def _curve(calibration: Calibration, grounded: Sequence[Grounded]) -> Curve:
    """Return the curve from clean and harder scenes of equal weight.

    Clean scenes alone would give a curve that trusts boxes of harder pictures too much.
    """
    clean, harder = (confidences(some, calibration) for some in _by_difficulty(grounded))
    predicted, measured = zip(*clean, *harder, strict=True)
    weights = [1 / len(clean)] * len(clean) + [1 / len(harder)] * len(harder)
    return monotone_curve(predicted, measured, weights)


def choose_presence(
    calibration: Calibration, measurements: Measurements
) -> tuple[Calibration, Report]:
    """Choose the question that predicts presence best on other scenes; fit its scale and bias."""
    candidates, report = {}, Report()
    for text, log_odds in measurements.log_odds.items():
        rows = list(zip(measurements.questions, log_odds, strict=True))
        candidate = replace(calibration, presence_question=text)
        losses = [
            _presence_loss(checked, _with_logistic(candidate, fitted))
            for fitted, checked in _folds(rows, lambda row: row[0].scene)
        ]
        area = roc_auc([yes - no for _, (yes, no) in rows], _truths(rows))
        report[text] = {"log_loss": round(mean(losses), 5), "roc_auc": round(area, 5)}
        candidates[text] = _with_logistic(candidate, rows)
    best = min(report, key=lambda text: float(report[text]["log_loss"]))
    return candidates[best], report


def _with_logistic(calibration: Calibration, rows: Sequence[Probe]) -> Calibration:
    """Return the calibration with the scale and the bias that fit these answers."""
    scale, bias = logistic([yes - no for _, (yes, no) in rows], _truths(rows))
    return replace(calibration, presence_scale=round(scale, 4), presence_bias=round(bias, 4))


def choose_detection(
    calibration: Calibration, measurements: Measurements
) -> tuple[Calibration, Report]:
    """Choose the wording with the best F1 at IoU 0.5 on other scenes, and its threshold."""
    candidates, report = {}, Report()
    log_odds = measurements.log_odds[calibration.presence_question]
    for text, boxes in measurements.boxes.items():
        candidate = replace(calibration, class_phrase=text)
        pairs = zip(log_odds, boxes, strict=True)
        rows = list(zip(measurements.questions, pairs, strict=True))
        scores = [
            f1_at(
                best_threshold(*_detections(fitted, candidate)).value,
                *_detections(checked, candidate),
            )
            for fitted, checked in _folds(rows, lambda row: row[0].scene)
        ]
        threshold = best_threshold(*_detections(rows, candidate))
        report[text] = {"f1": round(mean(scores), 4), "threshold": threshold.value}
        candidates[text] = replace(candidate, default_threshold=threshold.value)
    best = max(report, key=lambda text: float(report[text]["f1"]))
    return candidates[best], report


def mean_iou(grounded: Sequence[Grounded], calibration: Calibration) -> float:
    """Return the mean IoU of all refined boxes."""
    return mean([overlap for _, overlap in confidences(grounded, calibration)])


def confidences(
    grounded: Sequence[Grounded], calibration: Calibration
) -> list[tuple[float, float]]:
    """Return the confidence of each refined box, and its largest IoU with a target."""
    return [
        (found.confidence, best_overlap(found.box, one.targets))
        for one in grounded
        for found in (box.localize(calibration) for box in one.boxes)
    ]


def best_overlap(box: Box, targets: Sequence[Box]) -> float:
    """Return the largest IoU with one of the targets."""
    return max((iou(box, target) for target in targets), default=0.0)


def _folds(
    items: Sequence[Item], number: Callable[[Item], int]
) -> Iterator[tuple[list[Item], list[Item]]]:
    """Yield items to fit and items to check: of even and odd scenes, and vice versa."""
    even = [item for item in items if number(item) % 2 == 0]
    odd = [item for item in items if number(item) % 2]
    yield even, odd
    yield odd, even


def _mean_of_folds(folds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: round(mean([fold[key] for fold in folds]), 4) for key in folds[0]}


def _by_difficulty(grounded: Sequence[Grounded]) -> tuple[list[Grounded], list[Grounded]]:
    clean = [one for one in grounded if one.kind == CLEAN]
    return clean, [one for one in grounded if one.kind != CLEAN]


def calibration_errors(grounded: Sequence[Grounded], calibration: Calibration) -> dict[str, float]:
    """Return the calibration error of the confidence on clean and on harder scenes."""
    pairs = [confidences(some, calibration) for some in _by_difficulty(grounded)]
    errors = [
        calibration_error([c for c, _ in some], [overlap for _, overlap in some]) for some in pairs
    ]
    return {"clean": errors[0], "harder": errors[1]}


def _truths(rows: Sequence[tuple[ClassQuestion, Any]]) -> list[bool]:
    return [question.presence == "present" for question, _ in rows]


def _presence_loss(rows: Sequence[Probe], calibration: Calibration) -> float:
    return log_loss([calibration.presence(*odds) for _, odds in rows], _truths(rows))


def _detections(
    rows: Sequence[tuple[ClassQuestion, Any]], calibration: Calibration
) -> tuple[list[Detection], int]:
    """Return all detections, and the number of objects to detect."""
    detections = [
        one
        for question, (log_odds, boxes) in rows
        for one in detect(question, log_odds, boxes, calibration)
    ]
    return detections, sum(len(question.targets) for question, _ in rows)
