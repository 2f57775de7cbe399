"""Metrics: overlap of boxes, F1, area under the ROC curve, reliability."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from app.grounding.boxes import box_to_patch_indices, patch_indices_to_box
from app.pictures.marks import Box
from app.verify.accuracy import iou as iou


def iou_of_perfect_tokens(box: Box) -> float:
    """Return the IoU of a box with its rounding to two cells."""
    return iou(box, patch_indices_to_box(*box_to_patch_indices(box)))


def num_matches(found: Sequence[Box], wanted: Sequence[Box], threshold: float = 0.5) -> int:
    """Count pairs of a found and a wanted box, each used once, the closest pairs first."""
    pairs = sorted(
        ((iou(f, w), i, j) for i, f in enumerate(found) for j, w in enumerate(wanted)),
        reverse=True,
    )
    used_found, used_wanted = set[int](), set[int]()
    for overlap, i, j in pairs:
        if overlap >= threshold and i not in used_found and j not in used_wanted:
            used_found.add(i)
            used_wanted.add(j)
    return len(used_found)


@dataclass
class Counts:
    """Numbers of right, found and wanted objects, summed over answers."""

    right: int = 0
    found: int = 0
    wanted: int = 0

    def add(self, right: int, found: int, wanted: int) -> None:
        """Add the numbers of one answer."""
        self.right += right
        self.found += found
        self.wanted += wanted

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 1 if nothing was found or wanted."""
        total = self.found + self.wanted
        return 2 * self.right / total if total else 1.0


def mean(values: Sequence[float]) -> float:
    """Return the mean, or NaN for no values."""
    return sum(values) / len(values) if values else float("nan")


def roc_auc(scores: Sequence[float], truths: Sequence[bool]) -> float:
    """Return the probability that a right box scores above a wrong one; ties count half.

    >>> roc_auc([0.9, 0.8, 0.3], [True, False, False])
    1.0
    """
    ranked = sorted(zip(scores, truths, strict=True))
    num_right, num_wrong = sum(truths), len(truths) - sum(truths)
    if not num_right or not num_wrong:
        return float("nan")
    wins, wrong_below, start = 0.0, 0, 0
    while start < len(ranked):
        end = start
        while end < len(ranked) and ranked[end][0] == ranked[start][0]:
            end += 1
        right = sum(truth for _, truth in ranked[start:end])
        wrong = end - start - right
        wins += right * (wrong_below + wrong / 2)
        wrong_below += wrong
        start = end
    return wins / (num_right * num_wrong)


def roc_curve(scores: Sequence[float], truths: Sequence[bool]) -> list[tuple[float, float]]:
    """Return false and true positive rates for falling thresholds."""
    num_right, num_wrong = sum(truths), len(truths) - sum(truths)
    points, right, wrong = [(0.0, 0.0)], 0, 0
    for _, truth in sorted(zip(scores, truths, strict=True), reverse=True):
        right, wrong = right + truth, wrong + (not truth)
        points.append((wrong / max(1, num_wrong), right / max(1, num_right)))
    return points


def calibration_error(
    predicted: Sequence[float], measured: Sequence[float], num_bins: int = 10
) -> float:
    """Return the mean difference between predicted and measured means, over bins of equal size.

    >>> round(calibration_error([0.2, 0.4, 0.6, 0.8], [0.3, 0.3, 0.9, 0.7], num_bins=2), 3)
    0.05
    """
    ordered = sorted(zip(predicted, measured, strict=True))
    edges = [round(number * len(ordered) / num_bins) for number in range(num_bins + 1)]
    bins = [ordered[start:end] for start, end in pairwise(edges) if start < end]
    gaps = [abs(sum(guess - truth for guess, truth in members)) for members in bins]
    return sum(gaps) / len(ordered) if ordered else float("nan")


@dataclass(frozen=True)
class ReliabilityBin:
    """Boxes of similar score: their mean score, the share of right ones, their number."""

    mean_score: float
    accuracy: float
    num_boxes: int


def reliability(
    scores: Sequence[float], truths: Sequence[bool], num_bins: int = 10
) -> list[ReliabilityBin]:
    """Return the bins of equal score intervals from 0 to 1, without empty ones."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(num_bins)]
    for score, truth in zip(scores, truths, strict=True):
        # A score of 1 belongs to the last interval.
        bins[min(num_bins - 1, int(score * num_bins))].append((score, truth))
    return [
        ReliabilityBin(
            mean([score for score, _ in members]),
            mean([float(truth) for _, truth in members]),
            len(members),
        )
        for members in bins
        if members
    ]
