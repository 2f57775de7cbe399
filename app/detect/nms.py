"""Removes duplicates among boxes by greedy non-maximum suppression, in numpy.

HTTP processes run this and do not load torch, which rules out torchvision and `supervision`. None
of the libraries that this project depends on has a version in numpy.
"""

from dataclasses import dataclass

import numpy as np

MAX_CANDIDATES_PER_CLASS = 300
"""The number of boxes of each class that take part, the best; the others are dropped."""

_LEAST_IOU = 1e-12
"""Avoids a division by zero; a smaller overlap is a rounding error."""


def suppress(
    boxes: np.ndarray,
    scores: np.ndarray,
    class_ids: np.ndarray,
    *,
    iou: float,
    class_agnostic: bool,
) -> np.ndarray:
    """Return the indices of the boxes to keep, in descending order of score.

    A box is dropped if its intersection over union with a kept box before it exceeds `iou`. Equal
    scores are ordered by class id, then by left, upper, right and lower edge, and only then by
    index. So permuting the input changes which of several identical rows is kept, and nothing else.

    19,200 boxes (64 classes) take up to 0.7 seconds; an event loop calls this in a thread.

    Args:
        boxes: xyxy in any unit, with x0 ≤ x1 and y0 ≤ y1, (N, 4). A box without area overlaps
            nothing, so it is always kept.
        scores: (N,). Neither boxes nor scores may be NaN: the caller computes both from
            probabilities that the engine has checked.
        class_ids: integers, (N,).
        iou: 0…1; 0 keeps only boxes that do not overlap, 1 keeps all.
        class_agnostic: whether a box also suppresses boxes of other classes.

    >>> boxes = np.array([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [20.0, 0.0, 30.0, 10.0]])
    >>> suppress(boxes, np.array([0.5, 0.9, 0.7]), np.zeros(3, int), iou=0.5, class_agnostic=False)
    array([1, 2])
    """
    boxes = np.asarray(boxes, np.float64)
    order = np.lexsort((*boxes.T[::-1], class_ids, -scores))  # (N,)
    order = order[_ranks_in_class(class_ids[order]) < MAX_CANDIDATES_PER_CLASS]
    if iou >= 1:  # otherwise many identical boxes would all be compared with each other
        return order
    classes = np.zeros_like(order) if class_agnostic else class_ids[order]
    is_kept = np.zeros(len(order), bool)
    for class_id in np.unique(classes):
        members = np.flatnonzero(classes == class_id)
        is_kept[members] = _survivors(boxes[order[members]], iou)
    return order[is_kept]


def _ranks_in_class(class_ids: np.ndarray) -> np.ndarray:
    """Return for each element the number of earlier elements of the same class, (N,)."""
    by_class = np.argsort(class_ids, kind="stable")
    grouped = class_ids[by_class]
    ranks = np.empty(len(class_ids), np.intp)
    ranks[by_class] = np.arange(len(class_ids)) - np.searchsorted(grouped, grouped)
    return ranks


def _survivors(boxes: np.ndarray, iou: float) -> np.ndarray:
    """Return whether each box survives; the best box is first, (N,)."""
    across, down = _Neighbours.along(0, boxes, iou), _Neighbours.along(1, boxes, iou)
    is_narrower_across = across.ends - across.starts <= down.ends - down.starts
    survives = np.ones(len(boxes), bool)
    for rank, box in enumerate(boxes):
        if survives[rank]:
            near = across if is_narrower_across[rank] else down
            overlapping = near.overlapping(rank, box, iou)
            survives[overlapping[overlapping > rank]] = False
    return survives


@dataclass(frozen=True)
class _Neighbours:
    """Boxes sorted by their left or upper edge, so that the candidates for an overlap are adjacent.

    A box is then compared with these instead of all others.

    Attributes:
        ranks: position of each sorted box among the unsorted ones, (N,).
        columns: edges and area of the sorted boxes, (5, N).
        starts: per unsorted box, the first sorted box that may overlap it by more than the limit.
        ends: per unsorted box, the end of that range.
    """

    ranks: np.ndarray
    columns: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    @classmethod
    def along(cls, axis: int, boxes: np.ndarray, iou: float) -> "_Neighbours":
        """Sort boxes along x (0) or y (1)."""
        lows, lengths = boxes[:, axis], boxes[:, axis + 2] - boxes[:, axis]
        # The intersection over union is at most the shared length over either box's length. Hence
        # another box starts at most (1 - iou) of the length later, and is at most 1 / iou as long.
        earliest = lows - np.minimum(lengths * ((1 - iou) / max(iou, _LEAST_IOU)), lengths.max())
        latest = lows + lengths * (1 - iou)
        ranks = np.argsort(lows, kind="stable")
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        columns = np.ascontiguousarray(np.vstack([boxes.T, areas])[:, ranks])
        starts = np.searchsorted(lows[ranks], earliest, side="left")
        return cls(ranks, columns, starts, np.searchsorted(lows[ranks], latest, side="right"))

    def overlapping(self, rank: int, box: np.ndarray, iou: float) -> np.ndarray:
        """Return the unsorted positions of the boxes that overlap `box` by more than `iou`."""
        near = slice(self.starts[rank], self.ends[rank])
        x0, y0, x1, y1, areas = self.columns[:, near]
        left, upper, right, lower = box.tolist()
        intersection = np.minimum(x1, right) - np.maximum(x0, left)
        np.maximum(intersection, 0.0, out=intersection)
        intersection *= np.minimum(y1, lower) - np.maximum(y0, upper)
        unions = areas + ((right - left) * (lower - upper)) - intersection
        found: np.ndarray = self.ranks[near][intersection > iou * unions]
        return found
