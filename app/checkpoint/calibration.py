"""The calibration of a checkpoint: how to read its probabilities, measured for these weights.

The file `grounding_calibration.json` next to the weights has the fields of `Calibration`, except
`is_measured`, and the free member `measured`, which states how and on what they were measured.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from app.errors import CheckpointError

CALIBRATION_FILE = "grounding_calibration.json"
CLASS = "{class}"
"""The part of a template that stands for a class name."""

MAX_EXPONENT = 10.0
"""Beyond it, float64 rounds the probabilities of most cells to 0."""

Curve = tuple[tuple[float, float], ...]
"""Points (x, y) of a piecewise linear function; x rises from 0 to 1 and y never falls."""


@dataclass(frozen=True)
class Calibration:
    """How to read a checkpoint's probabilities; the defaults change nothing.

    Attributes:
        is_measured: whether `grounding_calibration.json` is next to the weights.
        default_threshold: confidence from which a detection counts, 0…1.
        class_phrase: the phrase for a class name, which replaces `{class}`.
        presence_question: the question whether a class is in the picture.
        presence_answers: the words of yes and of no, each the first token of an answer.
        presence_scale: weight of the two answers' log odds, above 0.
        presence_bias: added to the weighted log odds.
        cell_exponent: power of the cells' probabilities in a refined box, above 0 and at most 10.
        neighbour_share: of each neighbour of a corner's cell relative to the cell itself, if the
            corner is in the middle of the cell, 0 to 1. It replaces the neighbour that a cell at
            the picture's border does not have; 0 omits this.
        full_overlap: intersection over union with the box of two cells that counts as 1 in the
            confidence, above 0 and at most 1. The box of the right cells overlaps less than fully,
            because cells are coarse, and least if the object is small.
        confidence_curve: from the mean overlap, so counted, to the confidence.
    """

    is_measured: bool = False
    default_threshold: float = 0.0
    class_phrase: str = "a {class}"
    presence_question: str = "Is there a {class}?"
    presence_answers: tuple[str, str] = ("Yes", "No")
    presence_scale: float = 1.0
    presence_bias: float = 0.0
    cell_exponent: float = 1.0
    neighbour_share: float = 0.0
    full_overlap: float = 1.0
    confidence_curve: Curve = ((0.0, 0.0), (1.0, 1.0))

    def presence(self, log_yes: float, log_no: float) -> float:
        """Return the probability that a class is in the picture, 0…1.

        Args:
            log_yes: log probability of the first answer's token.
            log_no: of the second answer's token.

        >>> Calibration().presence(-1.0, -1.0)
        0.5
        """
        if log_yes == log_no:  # both may be minus infinity
            return _sigmoid(self.presence_bias)
        return _sigmoid(self.presence_scale * (log_yes - log_no) + self.presence_bias)

    def corrected(self, mean_overlap: float) -> float:
        """Return the confidence for a mean overlap, both 0…1.

        >>> Calibration(confidence_curve=((0.0, 0.0), (0.5, 0.25), (1.0, 0.75))).corrected(0.75)
        0.5
        """
        points = self.confidence_curve
        number = bisect_right(points, mean_overlap, key=lambda point: point[0])
        if number in (0, len(points)):
            return points[min(number, len(points) - 1)][1]
        (x0, y0), (x1, y1) = points[number - 1 : number + 1]
        # Rounding must not carry the value beyond the next point.
        return min(y1, y0 + (y1 - y0) * (mean_overlap - x0) / (x1 - x0))


UNCALIBRATED = Calibration()
"""The calibration of a checkpoint without the file."""


def _sigmoid(value: float) -> float:
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    odds = math.exp(value)  # of a large negative value, `exp(-value)` would overflow
    return odds / (1 + odds)


def parse_calibration(path: Path, content: Mapping[str, Any]) -> Calibration:
    """Return the calibration in a file; absent members other than the threshold keep their default.

    Args:
        path: for messages.
        content: the file's JSON.

    Raises:
        CheckpointError: `default_threshold` is missing, or a member is unknown or invalid.
    """
    if "default_threshold" not in content:
        raise CheckpointError(f"{path}: default_threshold is missing")
    values: dict[str, Any] = {}
    for key, value in content.items():
        if key == "measured":
            continue
        if key not in _PARSERS:
            raise CheckpointError(f"{path}: unknown key {key}")
        parse, expected = _PARSERS[key]
        try:
            values[key] = parse(value)
        except (TypeError, ValueError, OverflowError):
            raise CheckpointError(f"{path}: {key} must be {expected}") from None
    return Calibration(is_measured=True, **values)


def _number(value: Any) -> float:
    """Return a finite JSON number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _number_between(low: float, high: float, *, allows_low: bool) -> Callable[[Any], float]:
    def parse(value: Any) -> float:
        number = _number(value)
        if not low <= number <= high or (number == low and not allows_low):
            raise ValueError
        return number

    return parse


def _template(value: Any) -> str:
    if not isinstance(value, str) or value.count(CLASS) != 1 or value != value.strip():
        raise ValueError
    return value


def _answers(value: Any) -> tuple[str, str]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ValueError
    yes, no = value
    if yes == no or not all(word and word == word.strip() for word in value):
        raise ValueError
    return yes, no


def _curve(value: Any) -> Curve:
    if not isinstance(value, list) or not all(isinstance(point, list) for point in value):
        raise ValueError
    curve = tuple((_number(x), _number(y)) for x, y in value)
    heights = [y for _, y in curve]
    is_rising = all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(curve))
    if len(curve) < 2 or not is_rising or heights[0] < 0 or heights[-1] > 1:
        raise ValueError
    if (curve[0][0], curve[-1][0]) != (0.0, 1.0):
        raise ValueError
    return curve


_PARSERS: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "default_threshold": (_number_between(0, 1, allows_low=True), "a number from 0 to 1"),
    "class_phrase": (_template, "a text with exactly one {class}"),
    "presence_question": (_template, "a text with exactly one {class}"),
    "presence_answers": (_answers, "two different words"),
    "presence_scale": (_number_between(0, math.inf, allows_low=False), "a number above 0"),
    "presence_bias": (_number, "a finite number"),
    "cell_exponent": (
        _number_between(0, MAX_EXPONENT, allows_low=False),
        f"a number above 0 and at most {MAX_EXPONENT:g}",
    ),
    "neighbour_share": (_number_between(0, 1, allows_low=True), "a number from 0 to 1"),
    "full_overlap": (
        _number_between(0, 1, allows_low=False),
        "a number above 0 and at most 1",
    ),
    "confidence_curve": (
        _curve,
        "pairs [x, y] of numbers; x rises from 0 to 1, y never falls and stays between 0 and 1",
    ),
}
"""For each member of the file, its parser and what the parser expects."""
