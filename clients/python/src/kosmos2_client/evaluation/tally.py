"""Collects the outcomes of one class over all pictures, and computes average precision and F1."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from kosmos2_client.evaluation.matching import IOU_LIMITS, Match, Outcome

_RECALL_STEPS = 100
_RECALL_STEP = 0.01
NUM_FOLDS = 2


@dataclass(frozen=True)
class Quality:
    """Counts at one threshold.

    Attributes:
        threshold: confidence from which predictions count, 0…1.
        right: predictions that match an object.
        found: predictions.
        wanted: objects.
    """

    threshold: float
    right: int
    found: int
    wanted: int

    @property
    def precision(self) -> float:
        """The share of the predictions that is right; 1 without predictions."""
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """The share of the objects that is found; 1 without objects."""
        return self.right / self.wanted if self.wanted else 1.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 1 if nothing was found or wanted."""
        total = self.found + self.wanted
        return 2 * self.right / total if total else 1.0


@dataclass
class Tally:
    """The predictions of one class in all pictures.

    Attributes:
        scores: confidences.
        outcomes: per limit of `IOU_LIMITS`, an `Outcome` per score.
        folds: per score, the fold of its picture: 0 or 1.
        wanted: objects per fold.
    """

    scores: "array[float]" = field(default_factory=lambda: array("d"))
    outcomes: list[bytearray] = field(default_factory=lambda: [bytearray() for _ in IOU_LIMITS])
    folds: bytearray = field(default_factory=bytearray)
    wanted: list[int] = field(default_factory=lambda: [0] * NUM_FOLDS)

    def add(
        self, scores: Sequence[float], matches: Sequence[Match], fold: int, wanted: int
    ) -> None:
        """Add a picture.

        Args:
            matches: one per limit.
            wanted: objects of the class, without crowds.
        """
        self.scores.extend(scores)
        for outcomes, match in zip(self.outcomes, matches, strict=True):
            outcomes.extend(match.outcomes)
        self.folds.extend([fold] * len(scores))
        self.wanted[fold] += wanted

    def average_precision(self, limit_number: int) -> float | None:
        """Return COCO's average precision at a limit; `None` for a class without objects.

        It is the mean of the best precision at or beyond 101 recalls: 0, 0.01, … 1.
        """
        wanted = sum(self.wanted)
        if not wanted:
            return None
        outcomes = self.outcomes[limit_number]
        order = sorted(range(len(self.scores)), key=lambda number: -self.scores[number])
        counted = [outcomes[n] for n in order if outcomes[n] != Outcome.IGNORED]
        rights = list(accumulate(int(outcome == Outcome.RIGHT) for outcome in counted))
        recalls = [right / wanted for right in rights]
        precisions = [right / found for found, right in enumerate(rights, start=1)]
        best = list(accumulate(reversed(precisions), max))[::-1]
        total = 0.0
        for step in range(_RECALL_STEPS + 1):
            # pycocotools multiplies, and rounding decides which of two recalls is reached.
            number = bisect_left(recalls, step * _RECALL_STEP)
            total += best[number] if number < len(best) else 0.0
        return total / (_RECALL_STEPS + 1)


def quality_at(threshold: float, tallies: Iterable[Tally], fold: int | None = None) -> Quality:
    """Return the counts of all tallies together, at IoU 0.5.

    Args:
        fold: counts only pictures of this fold; `None` counts all.
    """
    right = found = wanted = 0
    for tally in tallies:
        wanted += sum(tally.wanted) if fold is None else tally.wanted[fold]
        for score, outcome, its_fold in zip(
            tally.scores, tally.outcomes[0], tally.folds, strict=True
        ):
            if score >= threshold and outcome != Outcome.IGNORED and fold in (None, its_fold):
                found += 1
                right += outcome == Outcome.RIGHT
    return Quality(threshold, right, found, wanted)


def best_quality(tallies: Sequence[Tally], fold: int | None = None) -> Quality:
    """Return the counts at the threshold with the best F1 at IoU 0.5.

    The threshold is in the middle between the last score that counts and the next lower one.

    Args:
        fold: considers only pictures of this fold; `None` considers all.
    """
    counted = sorted(
        (
            (score, outcome == Outcome.RIGHT)
            for tally in tallies
            for score, outcome, its_fold in zip(
                tally.scores, tally.outcomes[0], tally.folds, strict=True
            )
            if outcome != Outcome.IGNORED and fold in (None, its_fold)
        ),
        key=lambda pair: -pair[0],
    )
    wanted = sum(sum(t.wanted) if fold is None else t.wanted[fold] for t in tallies)
    best, right = Quality(1.0, 0, 0, wanted), 0
    for found, (score, is_right) in enumerate(counted, start=1):
        right += is_right
        below = counted[found][0] if found < len(counted) else 0.0
        if below < score:
            quality = Quality(round((score + below) / 2, 6), right, found, wanted)
            best = max(best, quality, key=lambda one: one.f1)
    return best


def held_out_quality(tallies: Sequence[Tally]) -> Quality | None:
    """Return the counts of each half of the pictures at the threshold of the other half.

    It is `None` if a half has no object, because no threshold is best there.
    """
    if not all(sum(tally.wanted[fold] for tally in tallies) for fold in range(NUM_FOLDS)):
        return None
    right = found = wanted = 0
    for fold in range(NUM_FOLDS):
        threshold = best_quality(tallies, fold).threshold
        quality = quality_at(threshold, tallies, NUM_FOLDS - 1 - fold)
        right, found, wanted = (
            right + quality.right,
            found + quality.found,
            wanted + quality.wanted,
        )
    return Quality(best_quality(tallies).threshold, right, found, wanted)
