"""Labels for every region of a picture: colour, shape, edges and centre of its object."""

from collections.abc import Sequence

import numpy as np

from app.grounding.boxes import GRID, box_to_patch_indices
from training.world import COLOURS, SHAPES, SceneObject

NUM_COLOURS, NUM_SHAPES = len(COLOURS) + 1, len(SHAPES) + 1
"""One more each, for the background."""
MIDDLE = 6
"""The column of the centres."""
# A region with less of an object is background.
MIN_COVERED = 0.2


def dense_labels(objects: Sequence[SceneObject], side: int) -> np.ndarray:
    """Return labels for the regions of a grid of `side` × `side`: (side², 7), row by row.

    The columns are colour, shape, the cells of the left, upper, right and lower edge, and the
    number of the object whose centre lies in the region, or -1. A region belongs to the object
    whose box covers most of it. The last colour and the last shape mean background, whose edges
    have no meaning.
    """
    labels = np.zeros((side, side, MIDDLE + 1), dtype=np.int64)
    labels[..., MIDDLE] = -1
    labels[..., 0], labels[..., 1] = len(COLOURS), len(SHAPES)
    most = np.full((side, side), MIN_COVERED)
    for number, thing in enumerate(objects):
        x0, y0, x1, y1 = thing.xyxy
        covered = _covered(y0, y1, side)[:, None] * _covered(x0, x1, side)
        upper_left, lower_right = box_to_patch_indices(thing.xyxy)
        (top, left), (bottom, right) = divmod(upper_left, GRID), divmod(lower_right, GRID)
        kind = list(COLOURS).index(thing.colour), SHAPES.index(thing.shape)
        labels[covered > most, :MIDDLE] = (*kind, left, top, right, bottom)
        most = np.maximum(most, covered)
        # A centre on the right or lower border belongs to the last region.
        column, row = (min(int(coordinate * side), side - 1) for coordinate in thing.centre)
        labels[row, column, MIDDLE] = number
    return labels.reshape(-1, MIDDLE + 1)


def _covered(low: float, high: float, side: int) -> np.ndarray:
    """Return the covered part of each of `side` intervals of 0…1 between two edges."""
    starts = np.arange(side) / side
    return (np.minimum(high, starts + 1 / side) - np.maximum(low, starts)).clip(0) * side
