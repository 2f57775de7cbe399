"""Converts boxes between coordinates and the model's form: two cells of a 32×32 grid.

Cells are numbered row by row from the upper left. The model writes a box as two indices: that of
its upper-left cell and that of its lower-right cell. Coordinates are normalised: 0 is the left or
upper edge of the picture, 1 is the right or lower edge.

The arithmetic equals `patch_index_to_coordinate` and `coordinate_to_patch_index` in
`transformers.models.kosmos2.processing_kosmos2`.
"""

import math
from collections.abc import Sequence

from app.pictures.marks import Box, BoxFormat

GRID = 32
"""Cells along each side of the picture."""

CellPair = tuple[int, int]
"""The indices of the upper-left and of the lower-right cell."""


def patch_indices_to_box(upper_left: int, lower_right: int) -> Box:
    """Return the box that two cells describe.

    The box runs from centre to centre of the cells. If both cells are in one row or one column, it
    runs from outer edge to outer edge. Like the reference, this function checks nothing: indices
    beyond the grid give coordinates beyond 1, and swapped corners stay swapped.

    >>> patch_indices_to_box(44, 863)
    (0.390625, 0.046875, 0.984375, 0.828125)
    >>> patch_indices_to_box(0, 992)
    (0.0, 0.0, 0.03125, 1.0)
    """
    top, left = divmod(upper_left, GRID)
    bottom, right = divmod(lower_right, GRID)
    inset = 0.0 if top == bottom or left == right else 0.5
    outset = 1.0 - inset
    return (
        (left + inset) / GRID,
        (top + inset) / GRID,
        (right + outset) / GRID,
        (bottom + outset) / GRID,
    )


def box_to_patch_indices(box: Box) -> CellPair:
    """Return the cells that contain the corners of a box; a corner on a cell's edge counts inwards.

    This is the inverse of `patch_indices_to_box` for pairs whose corners are in order.

    Args:
        box: normalised xyxy within 0…1, with x0 < x1 and y0 < y1, as `parse_user_box` returns.

    >>> box_to_patch_indices((0.390625, 0.046875, 0.984375, 0.828125))
    (44, 863)
    >>> box_to_patch_indices((0.0, 0.0, 1.0, 1.0))
    (0, 1023)
    """
    x0, y0, x1, y1 = box
    upper_left = math.floor(y0 * GRID) * GRID + math.floor(x0 * GRID)
    # The reference uses the ceiling of `x * GRID - 1`. For an edge below 2**-59 that rounds to -1
    # and wraps into another row. For all other edges both forms agree.
    lower_right = (math.ceil(y1 * GRID) - 1) * GRID + math.ceil(x1 * GRID) - 1
    return upper_left, lower_right


def is_inside_grid(pair: CellPair) -> bool:
    """Return whether both cells exist.

    >>> is_inside_grid((0, 1023)), is_inside_grid((0, 1024))
    (True, False)
    """
    return all(0 <= index < GRID * GRID for index in pair)


def sort_corners(pair: CellPair) -> CellPair:
    """Return the same two corners, the upper-left cell first.

    >>> sort_corners((863, 44))
    (44, 863)
    >>> sort_corners((31, 992))  # upper right and lower left
    (0, 1023)
    """
    (top, left), (bottom, right) = (divmod(index, GRID) for index in pair)
    upper_left = min(top, bottom) * GRID + min(left, right)
    lower_right = max(top, bottom) * GRID + max(left, right)
    return upper_left, lower_right


def clamp_box(box: Box) -> Box:
    """Return the part of a normalised box that lies in the picture.

    >>> clamp_box((-0.5, 0.25, 0.5, 1.5))
    (0.0, 0.25, 0.5, 1.0)
    """
    x0, y0, x1, y1 = (min(max(edge, 0.0), 1.0) for edge in box)
    return x0, y0, x1, y1


def parse_user_box(xyxy: Sequence[float], *, width: int, height: int, box_format: BoxFormat) -> Box:
    """Return a box from a request, normalised and clamped to the picture.

    Args:
        xyxy: left, upper, right and lower edge.
        width: of the upright picture, in pixels.
        height: of the upright picture, in pixels.
        box_format: the unit of `xyxy`.

    Raises:
        ValueError: the box is malformed, inverted, empty or wholly outside the picture. The message
            is shown to the client.

    >>> parse_user_box([400, 48, 1100, 848], width=1024, height=1024, box_format="pixel")
    (0.390625, 0.046875, 1.0, 0.828125)
    >>> parse_user_box([10, 10, 10, 20], width=100, height=100, box_format="pixel")
    Traceback (most recent call last):
        ...
    ValueError: must have x0 < x1 and y0 < y1
    """
    x0, y0, x1, y1 = _four_finite_numbers(xyxy)
    if not (x0 < x1 and y0 < y1):
        raise ValueError("must have x0 < x1 and y0 < y1")
    if box_format == "pixel":
        x0, y0, x1, y1 = x0 / width, y0 / height, x1 / width, y1 / height
    clamped = clamp_box((x0, y0, x1, y1))
    if not (clamped[0] < clamped[2] and clamped[1] < clamped[3]):
        unit = f"{width}×{height} pixels" if box_format == "pixel" else "1×1 (normalized)"
        raise ValueError(f"lies outside the picture, which measures {unit}")
    return clamped


def _four_finite_numbers(xyxy: Sequence[float]) -> Box:
    if len(xyxy) != 4:
        raise ValueError("must be four numbers: x0, y0, x1, y1")
    try:
        x0, y0, x1, y1 = (float(edge) for edge in xyxy)
    except OverflowError:  # an integer too large for a float
        raise ValueError("must hold finite numbers only") from None
    if not all(map(math.isfinite, (x0, y0, x1, y1))):
        raise ValueError("must hold finite numbers only")
    return x0, y0, x1, y1
