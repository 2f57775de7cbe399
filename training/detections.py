"""Counts right detections of classes, and finds the threshold with the best F1."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.checkpoint.calibration import Calibration
from app.pictures.marks import Box
from training.answering import GeneratedBox
from training.confidence_questions import ClassQuestion
from training.metrics import iou

LEAST_IOU = 0.5


@dataclass(frozen=True)
class Detection:
    """A box of a class, and whether it is the first that finds one of the class's objects."""

    confidence: float
    is_right: bool


@dataclass(frozen=True)
class Threshold:
    """A confidence from which detections count, and their F1 at IoU 0.5."""

    value: float
    f1: float


def detect(
    question: ClassQuestion,
    log_odds: tuple[float, float],
    boxes: Sequence[GeneratedBox],
    calibration: Calibration,
) -> list[Detection]:
    """Return the detections of one class in one picture, the most confident first."""
    presence = calibration.presence(*log_odds)
    found = [box.localize(calibration) for box in boxes]
    return match([(presence * one.confidence, one.box) for one in found], question.targets)


def match(found: Sequence[tuple[float, Box]], targets: Sequence[Box]) -> list[Detection]:
    """Return the detections of one class in one picture, the most confident first.

    A box is right if it overlaps an object that no more confident box has found.

    Args:
        found: the confidence and the box of each detection.
        targets: the boxes of the objects.
    """
    missing = list(targets)
    detections = []
    for confidence, box in sorted(found, key=lambda one: one[0], reverse=True):
        overlaps = [iou(box, target) for target in missing]
        is_right = max(overlaps, default=0.0) >= LEAST_IOU
        if is_right:
            missing.pop(overlaps.index(max(overlaps)))
        detections.append(Detection(confidence, is_right))
    return detections


def f1_at(threshold: float, detections: Sequence[Detection], num_targets: int) -> float:
    """Return F1 of the detections whose confidence reaches the threshold.

    >>> f1_at(0.5, [Detection(0.9, True), Detection(0.6, False), Detection(0.2, True)], 3)
    0.4
    """
    kept = [one for one in detections if one.confidence >= threshold]
    return 2 * sum(one.is_right for one in kept) / max(1, len(kept) + num_targets)


def best_threshold(detections: Sequence[Detection], num_targets: int) -> Threshold:
    """Return the middle of the thresholds, in steps of 0.01, that have the best F1."""
    steps = [number / 100 for number in range(100)]
    scores = [f1_at(step, detections, num_targets) for step in steps]
    best = [step for step, score in zip(steps, scores, strict=True) if score == max(scores)]
    return Threshold(best[len(best) // 2], max(scores))
