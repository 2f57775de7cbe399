"""Non-maximum suppression keeps the best box of each object, in any order of the input."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.detect.nms import MAX_CANDIDATES_PER_CLASS, suppress

TOLERANCE = 1e-9  # of rounding, where an overlap is equal to the limit

# Few different values, so that equal scores, identical boxes and overlaps at the limit occur.
edges = st.integers(0, 12)
spans = st.tuples(edges, edges).map(sorted)
boxes = st.tuples(spans, spans).map(
    lambda spans: [spans[0][0], spans[1][0], spans[0][1], spans[1][1]]
)
rows = st.tuples(boxes, st.sampled_from([0.1, 0.5, 0.5000001, 0.9]), st.integers(0, 2))
limits = st.one_of(st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 1.0]), st.floats(0.0, 1.0))


class Candidates:
    """Arrays of boxes, scores and class ids."""

    def __init__(self, rows: list[Any]) -> None:
        self.boxes = np.array([row[0] for row in rows], float).reshape(-1, 4)
        self.scores = np.array([row[1] for row in rows], float)
        self.class_ids = np.array([row[2] for row in rows], int)

    def __getitem__(self, indices: Any) -> "Candidates":
        chosen = Candidates([])
        chosen.boxes, chosen.scores = self.boxes[indices], self.scores[indices]
        chosen.class_ids = self.class_ids[indices]
        return chosen

    def __len__(self) -> int:
        return len(self.scores)

    def keys(self) -> list[tuple[Any, ...]]:
        """Return per row what decides its position: score, class, edges."""
        columns = self.scores, self.class_ids, self.boxes
        return [
            (-s, c, *box) for s, c, box in zip(*(each.tolist() for each in columns), strict=True)
        ]

    def suppress(self, iou: float, class_agnostic: bool) -> np.ndarray:
        return suppress(
            self.boxes, self.scores, self.class_ids, iou=iou, class_agnostic=class_agnostic
        )


candidates = st.lists(rows, max_size=30).map(Candidates)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Return the intersection over union of two boxes."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(sides[0] * sides[1]) if (sides > 0).all() else 0.0
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared
    return shared / union if union > 0 else 0.0


def compete(found: Candidates, a: int, b: int, class_agnostic: bool) -> bool:
    """Return whether one of two boxes can suppress the other."""
    return class_agnostic or found.class_ids[a] == found.class_ids[b]


def slow_reference(found: Candidates, iou: float, class_agnostic: bool) -> list[int]:
    """Compare each box with all kept ones, best first."""
    keys = found.keys()
    kept: list[int] = []
    for index in sorted(range(len(found)), key=lambda index: keys[index]):
        rivals = [other for other in kept if compete(found, index, other, class_agnostic)]
        if all(overlap(found.boxes[index], found.boxes[other]) <= iou for other in rivals):
            kept.append(index)
    return kept


@given(candidates, st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.booleans())
def test_it_keeps_the_boxes_of_the_obvious_algorithm(
    found: Candidates, iou: float, class_agnostic: bool
) -> None:
    """These limits and edges have no rounding."""
    assert found.suppress(iou, class_agnostic).tolist() == slow_reference(
        found, iou, class_agnostic
    )


@pytest.mark.slow
@pytest.mark.parametrize("class_agnostic", [True, False])
@pytest.mark.parametrize("iou", [0.0, 0.1, 0.5, 0.75])
def test_it_keeps_the_boxes_of_the_obvious_algorithm_among_many(
    iou: float, class_agnostic: bool
) -> None:
    """Boxes of all sizes, far apart and close together."""
    noise = np.random.default_rng(0)
    corners = noise.choice(noise.random((40, 2)), 400) + noise.normal(0, 0.01, (400, 2))
    sides = np.exp(noise.uniform(-5, 0, (400, 2)))
    sides[:200] = 0.2 * np.exp(noise.normal(0, 0.1, (200, 2)))
    found = Candidates([])
    found.boxes = np.concatenate([corners, corners + sides], axis=1)
    found.scores, found.class_ids = noise.random(400), noise.integers(0, 5, 400)
    kept = found.suppress(iou, class_agnostic).tolist()
    assert 10 < len(kept) < 400
    assert kept == slow_reference(found, iou, class_agnostic)


@given(candidates, limits, st.booleans())
def test_kept_boxes_overlap_within_the_limit_and_dropped_ones_a_better_kept_box_beyond_it(
    found: Candidates, iou: float, class_agnostic: bool
) -> None:
    kept = found.suppress(iou, class_agnostic).tolist()
    keys = found.keys()
    assert [keys[index] for index in kept] == sorted(keys[index] for index in kept)
    for index in range(len(found)):
        rivals = [
            overlap(found.boxes[index], found.boxes[other])
            for other in kept
            if (keys[other], other) < (keys[index], index)
            and compete(found, index, other, class_agnostic)
        ]
        if index in kept:
            assert max(rivals, default=0.0) <= iou + TOLERANCE
        else:
            assert max(rivals) > iou - TOLERANCE


@given(candidates, limits, st.booleans())
def test_suppressing_again_changes_nothing(
    found: Candidates, iou: float, class_agnostic: bool
) -> None:
    kept = found[found.suppress(iou, class_agnostic)]
    assert kept.suppress(iou, class_agnostic).tolist() == list(range(len(kept)))


@given(candidates, limits, st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_has_no_effect(
    found: Candidates, iou: float, class_agnostic: bool, random: Any
) -> None:
    """Answers of tiles and classes arrive in any order, also with equal scores."""
    order = list(range(len(found)))
    random.shuffle(order)
    shuffled = found[order]
    kept = found[found.suppress(iou, class_agnostic)]
    assert shuffled[shuffled.suppress(iou, class_agnostic)].keys() == kept.keys()


def test_the_best_boxes_of_each_class_take_part() -> None:
    """A class with more boxes loses its worst ones; others keep all."""
    many = MAX_CANDIDATES_PER_CLASS + 50
    apart = [([2 * i, 0, 2 * i + 1, 1], i / many, 0) for i in range(many)]
    found = Candidates([*apart, ([0, 5, 1, 6], 0.001, 1)])
    for class_agnostic in (True, False):
        kept = found.suppress(0.5, class_agnostic).tolist()
        assert kept == [*range(many - 1, 49, -1), many]


def test_boxes_that_exceed_the_limit_of_their_class_suppress_nothing() -> None:
    """Otherwise the answer would depend on boxes that are not in it."""
    best = [([2 * i, 0, 2 * i + 1, 1], 0.9, 0) for i in range(MAX_CANDIDATES_PER_CLASS)]
    found = Candidates([*best, ([0, 5, 1, 6], 0.8, 0), ([0, 5, 1, 6], 0.7, 1)])
    assert found.suppress(0.5, class_agnostic=True)[-1] == MAX_CANDIDATES_PER_CLASS + 1


def test_boxes_without_area_are_kept() -> None:
    """They overlap nothing, not even their own copies."""
    rows = [([1, 1, 1, 5], 0.5, 0), ([1, 1, 1, 5], 0.5, 0), ([3, 3, 3, 3], 0.5, 0)]
    found = Candidates([*rows, ([0, 0, 9, 9], 0.9, 0)])
    assert found.suppress(0.0, class_agnostic=True).tolist() == [3, 0, 1, 2]


def test_no_boxes_give_no_indices() -> None:
    for class_agnostic in (True, False):
        assert Candidates([]).suppress(0.5, class_agnostic).tolist() == []
