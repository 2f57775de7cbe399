"""Boxes and cells are converted as in the reference, after boxes from clients are checked."""

import math
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from transformers.models.kosmos2.processing_kosmos2 import (
    coordinate_to_patch_index,
    patch_index_to_coordinate,
)

from app.grounding.boxes import (
    GRID,
    CellPair,
    box_to_patch_indices,
    clamp_box,
    is_inside_grid,
    parse_user_box,
    patch_indices_to_box,
    sort_corners,
)
from app.pictures.marks import BoxFormat, scale_box

indices = st.integers(0, GRID * GRID - 1)
pairs = st.tuples(indices, indices)
edges = st.floats(-2.0, 3.0) | st.integers(-64, 96).map(lambda cell: cell / GRID)
BELOW_ONE = math.nextafter(1.0, 0.0)


@given(pairs.map(sort_corners))
def test_encoding_is_the_inverse_of_decoding(pair: CellPair) -> None:
    """A client can send a box of an answer and gets the same cells."""
    assert box_to_patch_indices(patch_indices_to_box(*pair)) == pair


@given(pairs.map(sort_corners), st.integers(1, 60_000), st.integers(1, 60_000))
def test_a_box_of_an_answer_in_pixels_gives_the_same_cells_again(
    pair: CellPair, width: int, height: int
) -> None:
    """The division by the picture's size must not change the cells."""
    pixels = scale_box(patch_indices_to_box(*pair), width, height)
    box = parse_user_box(pixels, width=width, height=height, box_format="pixel")
    assert box_to_patch_indices(box) == pair


@given(st.tuples(st.integers(0, 5000), st.integers(0, 5000)))
def test_cells_give_the_box_of_the_reference(pair: CellPair) -> None:
    """Cells beyond the grid are included, because the reference checks nothing."""
    assert patch_indices_to_box(*pair) == patch_index_to_coordinate(*pair, GRID)


@given(edges, edges, edges, edges)
@example(0.0, 0.0, BELOW_ONE, BELOW_ONE)
@example(BELOW_ONE, BELOW_ONE, 1.0, 1.0)
@example(1 / 32, 1 / 32, 2 / 32, 2 / 32)
def test_a_box_gives_the_cells_of_the_reference(x0: float, y0: float, x1: float, y1: float) -> None:
    """The upper left corner is rounded down, the lower right one up; edges count inwards."""
    box = clamp_box((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)))
    if box[0] < box[2] > 1e-17 and box[1] < box[3] > 1e-17:
        assert box_to_patch_indices(box) == coordinate_to_patch_index(box, GRID)


@given(st.floats(0.0, 1.0, exclude_min=True), st.floats(0.0, 1.0, exclude_max=True))
@example(sys.float_info.min, 0.0)
@example(1e-17, 0.0)
@example(1.0, BELOW_ONE)
def test_every_box_in_the_picture_has_cells_in_the_grid(high: float, low: float) -> None:
    """The reference wraps an edge below 2**-59 into another row; this service does not."""
    if low < high:
        pair = box_to_patch_indices((low, low, high, high))
        assert is_inside_grid(pair)
        assert pair == sort_corners(pair)


@given(pairs)
def test_sorted_corners_form_a_box_of_positive_size(pair: CellPair) -> None:
    """The rows and columns stay the same if corners were swapped on one axis or both."""
    x0, y0, x1, y1 = patch_indices_to_box(*sort_corners(pair))
    assert x0 < x1
    assert y0 < y1


@pytest.mark.parametrize(
    ("pair", "inside"),
    [((0, 0), True), ((1023, 1023), True), ((0, 1024), False), ((-1, 5), False)],
)
def test_the_grid_has_1024_cells(pair: CellPair, inside: bool) -> None:
    """Cells beyond the grid cannot be drawn."""
    assert is_inside_grid(pair) is inside


@pytest.mark.parametrize(
    ("xyxy", "box_format", "box"),
    [
        ([50, 0, 100, 25], "pixel", (0.25, 0.0, 0.5, 0.25)),
        ([-10, -10, 300, 300], "pixel", (0.0, 0.0, 1.0, 1.0)),
        ([199.5, 99.5, 400, 400], "pixel", (0.9975, 0.995, 1.0, 1.0)),
        ([0.25, 0.5, 0.75, 1.0], "normalized", (0.25, 0.5, 0.75, 1.0)),
        ([-1, 0.5, 0.75, 1e300], "normalized", (0.0, 0.5, 0.75, 1.0)),
    ],
)
def test_a_box_partly_outside_is_clamped(
    xyxy: list[float], box_format: BoxFormat, box: tuple[float, ...]
) -> None:
    """A box drawn by hand often crosses the picture's edge."""
    assert parse_user_box(xyxy, width=200, height=100, box_format=box_format) == box


@pytest.mark.parametrize(
    ("xyxy", "box_format", "message"),
    [
        ([1, 2, 3], "pixel", "four numbers"),
        ([1, 2, 3, 4, 5], "pixel", "four numbers"),
        ([10, 0, 10, 5], "pixel", "x0 < x1"),
        ([0, 6, 10, 5], "pixel", "y0 < y1"),
        ([0, 0, math.nan, 5], "pixel", "finite"),
        ([0, 0, math.inf, 5], "normalized", "finite"),
        ([0, 0, 10**400, 5], "pixel", "finite"),
        ([200, 0, 300, 50], "pixel", "outside the picture, which measures 200×100 pixels"),
        ([-50, 0, 0, 50], "pixel", "outside"),
        ([0, 100, 50, 150], "pixel", "outside"),
        ([1.0, 0.0, 2.0, 0.5], "normalized", "outside"),
        ([10, 10, 50, 50], "normalized", "outside the picture, which measures 1×1"),
        ([0.0, 0.0, 5e-324, 50.0], "pixel", "outside"),
    ],
)
def test_an_invalid_box_is_rejected_with_a_message(
    xyxy: list[float], box_format: BoxFormat, message: str
) -> None:
    """The reference would silently wrap it into another row."""
    with pytest.raises(ValueError, match=message):
        parse_user_box(xyxy, width=200, height=100, box_format=box_format)


@given(st.lists(st.floats() | st.integers(), max_size=6), st.sampled_from(["pixel", "normalized"]))
def test_any_numbers_give_cells_of_the_grid_or_a_value_error(
    xyxy: list[float], box_format: BoxFormat
) -> None:
    """Clients may send any numbers."""
    try:
        box = parse_user_box(xyxy, width=640, height=480, box_format=box_format)
    except ValueError:
        return
    pair = box_to_patch_indices(box)
    assert is_inside_grid(pair)
    assert sort_corners(pair) == pair
