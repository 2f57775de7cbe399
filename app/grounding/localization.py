"""Computes finer boxes and their confidence from the model's distributions over cells.

A location token is one of 1024 cells, so a box that is read from two tokens is coarse. The model's
probabilities of the cells near the chosen one state where in between the corner lies.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from app.checkpoint.calibration import UNCALIBRATED, Calibration
from app.grounding.boxes import GRID, CellPair, patch_indices_to_box, sort_corners
from app.ipc.engine_messages import LocationDistribution
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

    @classmethod
    def from_message(cls, message: LocationDistribution) -> "CellDistribution":
        """Return the distribution that the engine sent with a location token."""
        cells = np.frombuffer(message.cells, "<u2").astype(np.int64)
        return cls(cells, np.frombuffer(message.probabilities, "<f4").astype(np.float64))

    @cached_property
    def rows(self) -> np.ndarray:
        """Row of each cell in the grid, (K,)."""
        return self.cells // GRID

    @cached_property
    def columns(self) -> np.ndarray:
        """Column of each cell in the grid, (K,)."""
        return self.cells % GRID

    def is_near(self, cell: int) -> np.ndarray:
        """Return whether each cell is at most `RADIUS` rows and columns from `cell`, (K,)."""
        row, column = divmod(cell, GRID)
        return (abs(self.rows - row) <= RADIUS) & (abs(self.columns - column) <= RADIUS)


@dataclass(frozen=True)
class Localization:
    """A refined box.

    Attributes:
        box: normalised xyxy, inside the picture, its corners in order.
        confidence: the expected intersection over union of `box` with the true box, 0…1: under the
            model's own distributions, then corrected by the calibration. It supposes that the
            object is in the picture.
    """

    box: Box
    confidence: float


def localize(
    pair: CellPair,
    upper_left: CellDistribution,
    lower_right: CellDistribution,
    calibration: Calibration = UNCALIBRATED,
) -> Localization:
    """Return the refined box around the chosen cells, and its confidence.

    The box is the mean of the boxes that pairs of nearby cells stand for, weighted by their
    probability to the power `cell_exponent`. The confidence is the box's mean overlap with the
    boxes of all given cells, weighted by their probability, on the `confidence_curve`. An overlap
    of `full_overlap` counts as 1, a smaller one in proportion; probability outside the given cells
    counts as an overlap of 0.

    Args:
        pair: the cells that the answer names.
        upper_left: of the first corner.
        lower_right: of the second corner.
        calibration: has the exponent, the neighbour's share, the full overlap and the curve.

    >>> certain = CellDistribution(np.array([44]), np.array([1.0]))
    >>> localize((44, 862), certain, CellDistribution(np.array([862]), np.array([1.0])))
    Localization(box=(0.390625, 0.046875, 0.953125, 0.828125), confidence=1.0)
    """
    edges = _edges(upper_left, lower_right)
    is_ordered = (edges[0] < edges[2]) & (edges[1] < edges[3])  # (K, K)
    weights = np.outer(upper_left.probabilities, lower_right.probabilities) * is_ordered  # (K, K)
    near = np.outer(upper_left.is_near(pair[0]), lower_right.is_near(pair[1]))  # (K, K)
    shares = _shares(weights * near, calibration.cell_exponent)
    box = _mean_box(edges, shares, pair)
    box = _drawn_to_borders(box, shares, pair, upper_left, lower_right, calibration)
    overlaps = np.minimum(_overlaps(box, edges) / calibration.full_overlap, 1.0)  # (K, K)
    mean_overlap = min(float((weights * overlaps).sum()), 1.0)
    return Localization(box, calibration.corrected(mean_overlap))


def _shares(weights: np.ndarray, exponent: float) -> np.ndarray:
    """Return weights to a power, with a sum of 1; all 0 if all weights are."""
    largest = weights.max()
    if largest <= 0.0:
        return np.zeros_like(weights)
    shares: np.ndarray = (weights / largest) ** exponent  # undivided, all could become 0
    shares /= shares.sum()
    return shares


def _mean_box(edges: np.ndarray, shares: np.ndarray, pair: CellPair) -> Box:
    if not shares.any():  # a sampled cell may be far from all probable ones
        return patch_indices_to_box(*sort_corners(pair))
    x0, y0, x1, y1 = (edges.reshape(4, -1) @ shares.ravel()).tolist()
    return x0, y0, x1, y1


def _drawn_to_borders(
    box: Box,
    shares: np.ndarray,
    pair: CellPair,
    upper_left: CellDistribution,
    lower_right: CellDistribution,
    calibration: Calibration,
) -> Box:
    """Return the box with the edges moved outward whose cells touch the picture's border.

    There is no cell beyond the border, so the mean of the cells lies too far inside.
    """
    if calibration.neighbour_share == 0:
        return box
    of_first, of_second = shares.sum(axis=1), shares.sum(axis=0)  # (K,) each
    last = GRID - 1

    def drawn(edge: float, some: np.ndarray, distances: np.ndarray, chosen: int) -> float:
        return _drawn_to_border(edge, some, distances, chosen, calibration.neighbour_share)

    first, second = divmod(pair[0], GRID), divmod(pair[1], GRID)
    return (
        drawn(box[0], of_first, upper_left.columns, first[1]),
        drawn(box[1], of_first, upper_left.rows, first[0]),
        1 - drawn(1 - box[2], of_second, last - lower_right.columns, last - second[1]),
        1 - drawn(1 - box[3], of_second, last - lower_right.rows, last - second[0]),
    )


def _drawn_to_border(
    edge: float, shares: np.ndarray, distances: np.ndarray, chosen: int, neighbour_share: float
) -> float:
    """Return an edge's distance from the border, as if there were cells beyond.

    If a corner moves within its cell, the share of one neighbour rises as that of the other falls,
    so the share of the missing one follows from that of the present one. Without a present one,
    nothing follows, and the edge stays.

    Args:
        edge: its distance from the border, as a fraction of the picture.
        shares: of the cells, (K,).
        distances: of the cells from the border, in cells, (K,).
        chosen: the distance of the chosen cell.
        neighbour_share: see `Calibration`.
    """
    if chosen > 0:
        return edge
    own, inner = shares[distances == 0].sum(), shares[distances == 1].sum()
    if inner == 0:
        return edge
    missing = own * min(1.0, neighbour_share**2 * own / inner)
    return max(0.0, float((edge - 0.5 / GRID * missing) / (1 + missing)))


def _edges(upper_left: CellDistribution, lower_right: CellDistribution) -> np.ndarray:
    """Return the edges of each pair's box, as `patch_indices_to_box` does, (4, K, K)."""
    # One array per edge, because numpy is several times slower along a short last axis.
    top, left = upper_left.rows[:, None], upper_left.columns[:, None]  # (K, 1)
    bottom, right = lower_right.rows, lower_right.columns  # (K,)
    inset = np.where((top == bottom) | (left == right), 0.0, 0.5)  # (K, K)
    edges: np.ndarray = (
        np.stack([left + inset, top + inset, right + 1 - inset, bottom + 1 - inset]) / GRID
    )
    return edges


def _overlaps(box: Box, edges: np.ndarray) -> np.ndarray:
    """Return the intersection over union of one box with each of `edges`, (K, K)."""
    x0, y0, x1, y1 = edges
    width = np.minimum(x1, box[2]) - np.maximum(x0, box[0])
    height = np.minimum(y1, box[3]) - np.maximum(y0, box[1])
    intersection = np.maximum(width, 0.0) * np.maximum(height, 0.0)
    own = (box[2] - box[0]) * (box[3] - box[1])
    union = own + (x1 - x0) * (y1 - y0) - intersection  # of ordered boxes; others have no weight
    overlaps: np.ndarray = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    return overlaps
