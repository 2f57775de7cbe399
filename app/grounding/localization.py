"""Computes finer boxes and their confidence from the model's distributions over cells.

A location token is one of 1024 cells, so a box that is read from two tokens is coarse. The model's
probabilities of the cells near the chosen one state where in between the corner lies.
"""

from dataclasses import dataclass

import numpy as np

from app.grounding.boxes import GRID, CellPair, patch_indices_to_box, sort_corners
from app.pictures.marks import Box

RADIUS = 2
"""Cells on each side of the chosen one that count for a refined corner."""


@dataclass(frozen=True)
class CellDistribution:
    """The most probable cells of one corner.

    Attributes:
        cells: indices in the grid, each at most once, (K,).
        probabilities: of these cells among all 1024, (K,), at most 1 together.
    """

    cells: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True)
class Localization:
    """A refined box.

    Attributes:
        box: normalised xyxy, inside the picture, its corners in order.
        confidence: the expected intersection over union of `box` with the true box under the
            model's own distributions, 0…1. It supposes that the object is in the picture.
    """

    box: Box
    confidence: float


def localize(
    pair: CellPair, upper_left: CellDistribution, lower_right: CellDistribution
) -> Localization:
    """Return the refined box around the chosen cells, and its confidence.

    The box is the mean of the boxes that pairs of nearby cells stand for, weighted by their
    probability. Probability outside the given cells counts as an intersection of 0.

    Args:
        pair: the cells that the answer names.
        upper_left: of the first corner.
        lower_right: of the second corner.

    >>> certain = CellDistribution(np.array([44]), np.array([1.0]))
    >>> localize((44, 862), certain, CellDistribution(np.array([862]), np.array([1.0])))
    Localization(box=(0.390625, 0.046875, 0.953125, 0.828125), confidence=1.0)
    """
    boxes = _boxes(upper_left.cells, lower_right.cells)  # (K, K, 4)
    weights = upper_left.probabilities[:, None] * lower_right.probabilities  # (K, K)
    weights = np.where(_is_ordered(boxes), weights, 0.0)
    near = _is_near(upper_left.cells, pair[0])[:, None] & _is_near(lower_right.cells, pair[1])
    box = _mean_box(boxes, np.where(near, weights, 0.0), pair)
    confidence = float((weights * _overlaps(box, boxes)).sum())
    return Localization(box, min(confidence, 1.0))


def _mean_box(boxes: np.ndarray, weights: np.ndarray, pair: CellPair) -> Box:
    total = weights.sum()
    if total <= 0.0:  # a sampled cell may be far from all probable ones
        return patch_indices_to_box(*sort_corners(pair))
    x0, y0, x1, y1 = (weights[..., None] * boxes).sum(axis=(0, 1)) / total
    return float(x0), float(y0), float(x1), float(y1)


def _boxes(upper_left: np.ndarray, lower_right: np.ndarray) -> np.ndarray:
    """Return the box of each pair of cells, as `patch_indices_to_box` does, (K, K, 4)."""
    top, left = np.divmod(upper_left[:, None], GRID)  # (K, 1)
    bottom, right = np.divmod(lower_right[None], GRID)  # (1, K)
    inset = np.where((top == bottom) | (left == right), 0.0, 0.5)  # (K, K)
    return np.stack([left + inset, top + inset, right + 1 - inset, bottom + 1 - inset], -1) / GRID


def _is_ordered(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 0] < boxes[..., 2]) & (boxes[..., 1] < boxes[..., 3])


def _is_near(cells: np.ndarray, chosen: int) -> np.ndarray:
    rows, columns = np.divmod(cells, GRID)
    row, column = divmod(chosen, GRID)
    return (abs(rows - row) <= RADIUS) & (abs(columns - column) <= RADIUS)


def _overlaps(box: Box, boxes: np.ndarray) -> np.ndarray:
    """Return the intersection over union of one box with each of `boxes`, (K, K)."""
    corner = np.minimum(box[2:], boxes[..., 2:]) - np.maximum(box[:2], boxes[..., :2])
    intersection = np.clip(corner, 0.0, None).prod(axis=-1)
    areas = np.clip(boxes[..., 2:] - boxes[..., :2], 0.0, None).prod(axis=-1)
    own = (box[2] - box[0]) * (box[3] - box[1])
    union = own + areas - intersection
    overlaps: np.ndarray = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    return overlaps
