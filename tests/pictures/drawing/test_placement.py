"""A label has the best free position near its box."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from app.pictures.drawing.placement import LabelBox, Rectangle, place
from harness.marks import overlap

small = st.integers(1, 9)


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[LabelBox], tuple[int, int]]:
    width, height = draw(st.integers(8, 20)), draw(st.integers(8, 20))
    crowd = []
    for _ in range(draw(st.integers(1, 12))):
        x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        box = x, y, draw(st.integers(x + 1, width)), draw(st.integers(y + 1, height))
        crowd.append(LabelBox(draw(small), draw(small), box))
    return crowd, (width, height)


@given(crowds())
def test_a_label_is_omitted_only_if_no_free_position_is_left(
    crowd: tuple[list[LabelBox], tuple[int, int]],
) -> None:
    """The test tries every position of the picture."""
    wanted, (width, height) = crowd
    taken: list[Rectangle] = []
    for label, found in zip(wanted, place(wanted, (width, height), 1), strict=True):
        everywhere = product(range(width - label.width + 1), range(height - label.height + 1))
        places = ((x, y, x + label.width, y + label.height) for x, y in everywhere)
        free = any(not any(overlap(spot, other) for other in taken) for spot in places)
        assert (found is not None) == free
        if found is not None:
            taken.append(found)


def test_a_label_touches_its_box_unless_another_label_is_there() -> None:
    """A label in the same rows or the same columns does not block it."""
    boxes = (10, 30, 40, 90), (60, 30, 90, 90), (10, 60, 40, 90)
    places = place([LabelBox(20, 10, box) for box in boxes], (100, 100), 2)
    assert places == [(10, 20, 30, 30), (60, 20, 80, 30), (10, 50, 30, 60)]


STRIPS = [LabelBox(30, 40, (100, 15, 110, 25))] * 3  # as high as the picture


def test_a_label_without_room_at_its_box_is_as_near_as_possible() -> None:
    """A longer distance means a longer line between label and box."""
    assert place(STRIPS, (140, 40), 2) == [(110, 0, 140, 40), (70, 0, 100, 40), (40, 0, 70, 40)]


def test_a_label_moves_farther_away_to_keep_corners_visible() -> None:
    """A hidden box is worse than a distant label."""
    hidden_else = LabelBox(1, 1, (52, 18, 58, 22))
    assert place([*STRIPS, hidden_else], (140, 40), 2)[2] == (0, 0, 30, 40)


def test_a_label_keeps_the_corners_of_boxes_visible_if_possible() -> None:
    """Viewers recognise a box by its corners."""
    box, below = (20, 30, 90, 80), (30, 22, 60, 28)  # a small box right above the first
    first, _ = place([LabelBox(40, 10, box), LabelBox(5, 5, below)], (100, 100), 2)
    assert first == (20, 80, 60, 90)
