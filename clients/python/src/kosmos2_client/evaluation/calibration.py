"""Fits presence, overlap and threshold to the answers of a run, and measures how well they fit."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from kosmos2_client.errors import InvalidInput
from kosmos2_client.evaluation.evaluate import EvaluatedPicture, of_class
from kosmos2_client.evaluation.fitting import (
    DIGITS,
    IDENTITY,
    Curve,
    evaluate_curve,
    logistic,
    monotone_curve,
    sigmoid,
)
from kosmos2_client.evaluation.matching import IOU_LIMITS, Match, Outcome, Overlaps
from kosmos2_client.evaluation.tally import Tally, best_quality, quality_at
from kosmos2_client.overlap import iou
from kosmos2_client.results import Detections

LEAST_EXAMPLES = 30
"""Of present classes, of absent classes and of boxes, in each half of the pictures."""

MAX_THRESHOLD = 0.05
"""Of a run that can be fitted on: a higher one hides the boxes of low confidence."""

_LEAST_PRESENCE = 0.00005
"""Answers have four decimals, so a presence of 0 means less than this."""

_NUM_BINS = 10


@dataclass(frozen=True)
class Fitted:
    """What is fitted: the identity by default.

    Attributes:
        scale: of the log odds of a presence.
        bias: of the log odds of a presence.
        curve: from the answered to the measured overlap.
        threshold: confidence from which a detection counts, 0…1.
    """

    scale: float = 1.0
    bias: float = 0.0
    curve: Curve = IDENTITY
    threshold: float = 0.0

    def presence(self, answered: float) -> float:
        """Return the corrected presence."""
        return sigmoid(self.scale * _log_odds(answered) + self.bias)

    def overlap(self, answered: float) -> float:
        """Return the corrected overlap."""
        return evaluate_curve(self.curve, answered)


@dataclass
class Examples:
    """Measurements on pictures.

    Attributes:
        presences: answered presence of a class, and whether the picture contains it.
        overlaps: answered and measured overlap of each box of a present class.
        boxes: per class and picture: the presence, the answered overlaps with their outcomes at
            IoU 0.5, and the number of objects.
    """

    presences: list[tuple[float, bool]] = field(default_factory=list)
    overlaps: list[tuple[float, float]] = field(default_factory=list)
    boxes: list[tuple[float, list[tuple[float, Outcome]], int]] = field(default_factory=list)


def collect(
    pictures: Iterable[EvaluatedPicture], classes: Sequence[str]
) -> tuple[Examples, Examples]:
    """Return the examples of both halves of the pictures.

    Raises:
        InvalidInput: an answer cannot be fitted on.
    """
    halves = (Examples(), Examples())
    for picture in pictures:
        if picture.result is None:
            continue
        result = picture.result
        if not isinstance(result, Detections) or result.raw.get("tiles"):
            raise InvalidInput(f"{picture.path}: calibrate with detections without tiles")
        if any("prompt" in found for found in result.raw["predictions"]):
            raise InvalidInput(f"{picture.path}: calibrate without --classes-file of prompts")
        if result.threshold > MAX_THRESHOLD:
            raise InvalidInput(
                f"{picture.path}: has no predictions below a confidence of {result.threshold:g}; "
                "run `batch --confidence 0`"
            )
        presences = {one.class_name: one.presence for one in result.classes}
        for name in set(classes) & set(presences):
            _add(halves[picture.fold], picture, name, presences[name])
    return halves


def _add(examples: Examples, picture: EvaluatedPicture, name: str, presence: float) -> None:
    found, truths = of_class(picture, name)
    examples.presences.append((presence, bool(truths)))
    known = [one for one in found if one.expected_iou is not None]
    match = Overlaps([one.xyxy for one in known], truths).match(IOU_LIMITS[0])
    answered = [one.expected_iou or 0.0 for one in known]
    wanted = sum(not truth.is_crowd for truth in truths)
    outcomes = list(zip(answered, match.outcomes, strict=True))
    examples.boxes.append((presence, outcomes, wanted))
    if truths:
        examples.overlaps += [
            (expected, max(iou(one.xyxy, truth.xyxy) for truth in truths))
            for one, expected in zip(known, answered, strict=True)
        ]


def fit(examples: Examples) -> Fitted:
    """Return the presence, the curve and the threshold that fit the examples.

    Raises:
        InvalidInput: there are too few examples.
    """
    _check(examples)
    scale, bias = logistic(
        [_log_odds(presence) for presence, _ in examples.presences],
        [truth for _, truth in examples.presences],
    )
    answered, measured = zip(*examples.overlaps, strict=True)
    curve = monotone_curve(answered, measured)
    fitted = Fitted(round(scale, DIGITS), round(bias, DIGITS), curve)
    if fitted.scale <= 0:
        raise InvalidInput("presence is lower for classes that are there: nothing can be fitted")
    threshold = round(best_quality([_tally(examples, fitted)]).threshold, DIGITS)
    return Fitted(fitted.scale, fitted.bias, curve, threshold)


def measures(examples: Examples, fitted: Fitted) -> dict[str, float]:
    """Return how well a calibration predicts the examples.

    `presence_log_loss` and `overlap_error` (the mean difference between answered and measured
    overlap in ten bins of equal size) should be low, `f1` high.
    """
    loss = sum(
        -math.log(max(1e-9, value if truth else 1 - value))
        for value, truth in (
            (fitted.presence(answered), truth) for answered, truth in examples.presences
        )
    )
    pairs = [(fitted.overlap(answered), measured) for answered, measured in examples.overlaps]
    quality = quality_at(fitted.threshold, [_tally(examples, fitted)])
    return {
        "presence_log_loss": round(loss / len(examples.presences), DIGITS),
        "overlap_error": round(_binned_error(pairs), DIGITS),
        "f1": round(quality.f1, DIGITS),
    }


def _check(examples: Examples) -> None:
    num_present = sum(truth for _, truth in examples.presences)
    numbers = {
        "present classes": num_present,
        "absent classes": len(examples.presences) - num_present,
        "boxes of present classes": len(examples.overlaps),
    }
    for what, number in numbers.items():
        if number < LEAST_EXAMPLES:
            raise InvalidInput(
                f"half of the pictures has {number} {what}; calibration needs {LEAST_EXAMPLES}"
            )


def _tally(examples: Examples, fitted: Fitted) -> Tally:
    """Return the corrected confidences and their outcomes at IoU 0.5, for all limits the same."""
    tally = Tally()
    for presence, outcomes, wanted in examples.boxes:
        corrected = fitted.presence(presence)
        match = Match([outcome for _, outcome in outcomes], [])
        scores = [corrected * fitted.overlap(answered) for answered, _ in outcomes]
        tally.add(scores, [match] * len(IOU_LIMITS), 0, wanted)
    return tally


def _binned_error(pairs: Sequence[tuple[float, float]]) -> float:
    ordered = sorted(pairs)
    edges = [round(number * len(ordered) / _NUM_BINS) for number in range(_NUM_BINS + 1)]
    gaps = [
        abs(sum(guess - truth for guess, truth in ordered[start:end]))
        for start, end in pairwise(edges)
    ]
    return sum(gaps) / len(ordered)


def _log_odds(presence: float) -> float:
    clipped = min(1 - _LEAST_PRESENCE, max(_LEAST_PRESENCE, presence))
    return math.log(clipped / (1 - clipped))
