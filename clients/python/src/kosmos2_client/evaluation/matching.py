"""Matches predictions of one class in one picture with true boxes, as COCO's evaluation does.

The rules are those of `pycocotools.cocoeval.COCOeval` for boxes of all sizes; a test compares both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from kosmos2_client.entities import Edges
from kosmos2_client.evaluation.truth import TrueBox
from kosmos2_client.overlap import area, intersection, iou

IOU_LIMITS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""0.50, 0.55, … 0.95."""

MAX_PREDICTIONS = 100
"""Per class and picture; less confident ones do not count."""

_BELOW_ONE = 1 - 1e-10


class Outcome(IntEnum):
    """Of a prediction; the values are stored in a byte each."""

    WRONG = 0
    RIGHT = 1
    IGNORED = 2


@dataclass(frozen=True)
class Match:
    """The outcomes of predictions at one limit.

    Attributes:
        outcomes: of each prediction.
        missed: the true boxes that no prediction found, without crowds.
    """

    outcomes: list[Outcome]
    missed: list[TrueBox]


class Overlaps:
    """The overlaps of predictions with the true boxes of their class in a picture.

    Args:
        boxes: of the predictions, the most confident first; at most `MAX_PREDICTIONS` count.
        truths: of the class.
    """

    def __init__(self, boxes: Sequence[Edges], truths: Sequence[TrueBox]) -> None:
        # A crowd is only matched if nothing else is, so crowds are last.
        self._truths = sorted(truths, key=lambda truth: truth.is_crowd)
        self._rows = [[_overlap(box, truth) for truth in self._truths] for box in boxes]

    def match(self, limit: float) -> Match:
        """Match each prediction with the free true box that it overlaps most, at least `limit`."""
        is_free = [True] * len(self._truths)
        outcomes = [self._match_one(row, is_free, min(limit, _BELOW_ONE)) for row in self._rows]
        missed = [
            truth
            for truth, free in zip(self._truths, is_free, strict=True)
            if free and not truth.is_crowd
        ]
        return Match(outcomes, missed)

    def _match_one(self, row: Sequence[float], is_free: list[bool], limit: float) -> Outcome:
        best = None
        for number, (truth, overlap) in enumerate(zip(self._truths, row, strict=True)):
            if truth.is_crowd and best is not None and not self._truths[best].is_crowd:
                break
            if overlap >= limit and (is_free[number] or truth.is_crowd):
                best, limit = number, overlap
        if best is None:
            return Outcome.WRONG
        is_free[best] = False
        return Outcome.IGNORED if self._truths[best].is_crowd else Outcome.RIGHT


def _overlap(box: Edges, truth: TrueBox) -> float:
    """Return the overlap with a true box; with a crowd, the share of `box` inside it."""
    if not truth.is_crowd:
        return iou(box, truth.xyxy)
    size = area(box)
    return intersection(box, truth.xyxy) / size if size > 0 else 0.0
