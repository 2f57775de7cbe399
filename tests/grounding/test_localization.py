"""Refined boxes and their confidence, from distributions over cells."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.checkpoint.calibration import Calibration
from app.grounding.boxes import GRID, CellPair, patch_indices_to_box, sort_corners
from app.grounding.localization import CellDistribution, localize

NUM_CELLS = GRID * GRID
MOST = 32

cells = st.integers(0, NUM_CELLS - 1)
pairs = st.tuples(cells, cells)
exponents = st.floats(0.05, 10.0)
full_overlaps = st.floats(0.05, 1.0)
CURVE = ((0.0, 0.05), (0.4, 0.3), (0.8, 0.3), (1.0, 0.9))


@st.composite
def distributions(draw: st.DrawFn) -> CellDistribution:
    """Up to 32 cells whose probabilities sum to at most 1."""
    chosen = draw(st.lists(cells, min_size=1, max_size=MOST, unique=True))
    weights = draw(
        st.lists(st.floats(1e-6, 1.0), min_size=len(chosen), max_size=len(chosen)).map(np.array)
    )
    kept = draw(st.floats(0.05, 1.0))
    return CellDistribution(np.array(chosen), weights / weights.sum() * kept)


def certain(cell: int) -> CellDistribution:
    return CellDistribution(np.array([cell]), np.array([1.0]))


def spread(cell: int, radius: int) -> CellDistribution:
    """Equal probabilities for the cells within a distance, the grid's edge permitting."""
    row, column = divmod(cell, GRID)
    steps = range(-radius, radius + 1)
    around = [
        (row + down) * GRID + column + right
        for down, right in itertools.product(steps, steps)
        if 0 <= row + down < GRID and 0 <= column + right < GRID
    ]
    return CellDistribution(np.array(around), np.full(len(around), 1 / len(around)))


@given(pairs.map(sort_corners), exponents, st.floats(0.0, 1.0))
def test_certain_cells_give_their_own_box_and_full_confidence(
    pair: CellPair, exponent: float, share: float
) -> None:
    calibration = Calibration(cell_exponent=exponent, neighbour_share=share)
    found = localize(pair, certain(pair[0]), certain(pair[1]), calibration)
    assert found.box == pytest.approx(patch_indices_to_box(*pair))
    assert found.confidence == pytest.approx(1.0)


@given(pairs, distributions(), distributions(), exponents, st.floats(0.0, 1.0))
def test_every_box_lies_inside_the_picture_with_its_corners_in_order(
    pair: CellPair,
    upper_left: CellDistribution,
    lower_right: CellDistribution,
    exponent: float,
    share: float,
) -> None:
    calibration = Calibration(cell_exponent=exponent, neighbour_share=share)
    found = localize(pair, upper_left, lower_right, calibration)
    x0, y0, x1, y1 = found.box
    assert 0 <= x0 < x1 <= 1
    assert 0 <= y0 < y1 <= 1
    assert 0 <= found.confidence <= 1


@given(pairs, distributions(), distributions(), full_overlaps)
def test_confidence_never_exceeds_the_probability_of_the_given_cells(
    pair: CellPair, upper_left: CellDistribution, lower_right: CellDistribution, full: float
) -> None:
    """What the distributions leave out counts as no overlap."""
    kept = upper_left.probabilities.sum() * lower_right.probabilities.sum()
    found = localize(pair, upper_left, lower_right, Calibration(full_overlap=full))
    assert found.confidence <= kept + 1e-9


@given(pairs, distributions(), distributions(), full_overlaps)
def test_the_full_overlap_raises_the_confidence_and_does_not_move_the_box(
    pair: CellPair, upper_left: CellDistribution, lower_right: CellDistribution, full: float
) -> None:
    plain = localize(pair, upper_left, lower_right)
    found = localize(pair, upper_left, lower_right, Calibration(full_overlap=full))
    assert found.box == plain.box
    assert plain.confidence <= found.confidence <= plain.confidence / full + 1e-9


@pytest.mark.parametrize(("full", "counted"), [(1.0, 0.5), (0.8, 0.625), (0.5, 1.0), (0.4, 1.0)])
def test_overlaps_below_the_full_one_count_in_proportion(full: float, counted: float) -> None:
    """The second cell's box covers half of the box of the first, which is the refined one."""
    corners = 5 * GRID + 5, 9 * GRID + 15  # from centre to centre, 10 by 4 cells
    first = CellDistribution(np.array([corners[0], corners[0] + 5]), np.array([0.6, 0.2]))
    found = localize(corners, first, certain(corners[1]), Calibration(full_overlap=full))
    assert found.confidence == pytest.approx(0.6 + 0.2 * counted)


@given(pairs.map(sort_corners), distributions(), distributions())
def test_the_order_of_the_cells_has_no_effect(
    pair: CellPair, upper_left: CellDistribution, lower_right: CellDistribution
) -> None:
    turned = [
        CellDistribution(d.cells[::-1], d.probabilities[::-1]) for d in (upper_left, lower_right)
    ]
    found, again = localize(pair, upper_left, lower_right), localize(pair, *turned)
    assert again.box == pytest.approx(found.box)
    assert again.confidence == pytest.approx(found.confidence)


@given(pairs, distributions(), distributions())
def test_the_curve_corrects_the_confidence_but_not_the_box(
    pair: CellPair, upper_left: CellDistribution, lower_right: CellDistribution
) -> None:
    calibration = Calibration(confidence_curve=CURVE)
    plain = localize(pair, upper_left, lower_right)
    found = localize(pair, upper_left, lower_right, calibration)
    assert found.box == plain.box
    assert found.confidence == calibration.corrected(plain.confidence)
    assert CURVE[0][1] <= found.confidence <= CURVE[-1][1]


@pytest.mark.parametrize(("exponent", "moved"), [(1.0, 0.2), (0.5, 1 / 3), (2.0, 1 / 17)])
def test_the_exponent_changes_how_far_a_corner_moves(exponent: float, moved: float) -> None:
    """Below 1, the neighbours count more; the model's probabilities may be too sure."""
    upper_left, lower_right = 5 * GRID + 5, 20 * GRID + 20
    between = CellDistribution(np.array([upper_left, upper_left + 1]), np.array([0.8, 0.2]))
    calibration = Calibration(cell_exponent=exponent)
    box = localize((upper_left, lower_right), between, certain(lower_right), calibration).box
    assert box[0] == pytest.approx((5.5 + moved) / GRID)


@pytest.mark.parametrize(
    ("inner", "edge"),
    [
        (0.04, 0.5),  # as much as the cell beyond would have
        (0.16, (0.5 + 0.16 * 1.5 - 0.01 * 0.5) / 1.17),
        (1e-9, 1e-9 * 0.75),  # almost nothing inside: at the border
        (0.0, 0.5),  # certain: nothing follows
    ],
)
def test_a_cell_at_the_border_gets_the_neighbour_that_it_lacks(inner: float, edge: float) -> None:
    """Its share is 0.04² over that of the other neighbour, relative to the chosen cell's."""
    upper_left, lower_right = 5 * GRID, 20 * GRID + 20
    cells = np.array([upper_left, upper_left + 1])
    first = CellDistribution(cells, np.array([1.0, inner]) / (1 + inner))
    calibration = Calibration(neighbour_share=0.04)
    box = localize((upper_left, lower_right), first, certain(lower_right), calibration).box
    assert box[0] * GRID == pytest.approx(edge)
    mirrored = localize(
        (NUM_CELLS - 1 - lower_right, NUM_CELLS - 1 - upper_left),
        certain(NUM_CELLS - 1 - lower_right),
        CellDistribution(NUM_CELLS - 1 - cells, first.probabilities),
        calibration,
    ).box
    assert mirrored == pytest.approx((1 - box[2], 1 - box[3], 1 - box[0], 1 - box[1]))
    turned = CellDistribution(np.array([5, 5 + GRID]), first.probabilities)
    transposed = localize((5, lower_right), turned, certain(lower_right), calibration).box
    assert transposed == pytest.approx((box[1], box[0], box[3], box[2]))


def test_a_cell_next_to_those_at_the_border_lacks_no_neighbour() -> None:
    """Some probability of a cell at the border does not move its edge further."""
    upper_left, lower_right = 5 * GRID + 1, 20 * GRID + 20
    first = CellDistribution(np.array([upper_left - 1, upper_left]), np.array([0.2, 0.8]))
    calibration = Calibration(neighbour_share=0.04)
    box = localize((upper_left, lower_right), first, certain(lower_right), calibration).box
    assert box[0] * GRID == pytest.approx(1.5 - 0.2)


def test_cells_whose_box_has_no_width_have_no_weight() -> None:
    """In one row, the box of a right cell and the left one next to it is a line."""
    left, right = 7 * GRID + 5, 7 * GRID + 9
    first = CellDistribution(np.array([left, left + 2]), np.array([0.5, 0.5]))
    second = CellDistribution(np.array([left + 1, right]), np.array([0.5, 0.5]))
    found = localize((left, left + 1), first, second)
    assert found.box == pytest.approx(patch_indices_to_box(left, left + 1))


def test_the_least_probable_cells_still_give_a_box_between_them() -> None:
    """A high power of such probabilities would be 0 without scaling."""
    upper_left, lower_right = 5 * GRID + 5, 20 * GRID + 20
    faint = CellDistribution(np.array([upper_left, upper_left + 1]), np.array([1e-40, 1e-40]))
    calibration = Calibration(cell_exponent=10.0)
    box = localize((upper_left, lower_right), faint, certain(lower_right), calibration).box
    assert box[0] == pytest.approx(6 / GRID)


def test_a_corner_moves_towards_the_more_probable_neighbour() -> None:
    upper_left, lower_right = 5 * GRID + 5, 20 * GRID + 20
    between = CellDistribution(np.array([upper_left, upper_left + 1]), np.array([0.6, 0.4]))
    box = localize((upper_left, lower_right), between, certain(lower_right)).box
    assert box[0] == pytest.approx((5.5 + 0.4) / GRID)
    assert box[1:] == pytest.approx(patch_indices_to_box(upper_left, lower_right)[1:])


def test_cells_far_from_the_chosen_one_lower_the_confidence_and_leave_the_box() -> None:
    upper_left, lower_right = 5 * GRID + 5, 20 * GRID + 20
    elsewhere = CellDistribution(np.array([upper_left, 15 * GRID + 15]), np.array([0.7, 0.3]))
    found = localize((upper_left, lower_right), elsewhere, certain(lower_right))
    assert found.box == pytest.approx(patch_indices_to_box(upper_left, lower_right))
    assert 0.7 < found.confidence < 0.75


def test_confidence_falls_as_the_distributions_spread() -> None:
    pair = (10 * GRID + 10, 22 * GRID + 22)
    found = [localize(pair, spread(pair[0], r), spread(pair[1], r)).confidence for r in (0, 1, 2)]
    flat = CellDistribution(np.arange(MOST) * 32, np.full(MOST, 1 / NUM_CELLS))
    assert found[0] > found[1] > found[2] > localize(pair, flat, flat).confidence
    assert localize(pair, flat, flat).confidence < 0.01


def test_a_box_within_one_row_of_cells_keeps_their_height() -> None:
    """Both corners are uncertain by one column; a mean of corners alone would be a line."""
    left, right = 7 * GRID + 3, 7 * GRID + 9
    around = [CellDistribution(np.array([c, c + 1]), np.array([0.5, 0.5])) for c in (left, right)]
    box = localize((left, right), *around).box
    assert box[3] - box[1] == pytest.approx(1 / GRID)


def test_crossed_corners_are_put_in_order() -> None:
    """Sampled answers may name the lower-right cell first."""
    found = localize((863, 44), certain(863), certain(44))
    assert found.box == pytest.approx(patch_indices_to_box(44, 863))
    assert found.confidence == 0


def test_a_cell_that_no_distribution_contains_gives_the_box_of_the_cells() -> None:
    found = localize((44, 863), certain(500), certain(1000))
    assert found.box == pytest.approx(patch_indices_to_box(44, 863))
