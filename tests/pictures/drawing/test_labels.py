"""Labels are readable, lie in the picture and do not overlap."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.pictures.drawing.labels import MAX_LABELS, lay_out
from app.pictures.drawing.placement import Rectangle
from app.pictures.marks import Mark
from harness.marks import CARRIED, SIZES, is_inside, marks_of, overlap

coordinates = st.floats(-50, 450) | st.integers(-20, 420).map(float)


@pytest.mark.slow
@given(marks_of(coordinates), SIZES)
def test_labels_lie_in_the_picture_and_do_not_overlap(
    marks: list[Mark], size: tuple[int, int]
) -> None:
    """A label that is cut off or hidden cannot be read."""
    rectangles = [label.rectangle for label in lay_out(marks, size, CARRIED).labels]
    assert all(is_inside(rectangle, size) for rectangle in rectangles)
    assert not any(overlap(*pair) for pair in combinations(rectangles, 2))


@given(marks_of(coordinates), SIZES)
def test_the_same_input_gives_the_same_layout(marks: list[Mark], size: tuple[int, int]) -> None:
    """So two runs can be compared byte by byte."""
    assert lay_out(marks, size, CARRIED) == lay_out(marks, size, CARRIED)


def hundred_marks() -> list[Mark]:
    generator = np.random.default_rng(7)
    corners = generator.uniform(0, 900, (100, 2))
    extents = generator.uniform(20, 200, (100, 2))
    edges = np.hstack([corners, corners + extents]).tolist()
    return [Mark(f"entity {number}", (tuple(box),), (0.5,)) for number, box in enumerate(edges)]


def test_a_hundred_entities_all_get_a_label_at_one_megapixel() -> None:
    """The picture has enough room for them."""
    layout = lay_out(hundred_marks(), (1000, 1000), CARRIED)
    assert len(layout.labels) == 100


def test_thousands_of_boxes_are_drawn_but_only_the_first_are_labelled() -> None:
    """The time to place labels grows faster than their number."""
    marks = [Mark("x", ((10.0, 10.0, 60.0, 60.0),) * 3000)]
    layout = lay_out(marks, (2000, 2000), CARRIED)
    assert len(layout.boxes) == 3000
    assert len(layout.labels) == MAX_LABELS


@pytest.mark.parametrize(
    ("box", "visible"),
    [
        ((10, 20, 30, 40), (10, 20, 30, 40)),
        ((30, 40, 10, 20), (10, 20, 30, 40)),
        ((-50, -50, 500, 500), (0, 0, 100, 50)),
        ((90, 40, 120, 70), (90, 40, 100, 50)),
        ((10, 10, 10, 10), (10, 10, 11, 11)),
        ((100, 50, 100, 50), (99, 49, 100, 50)),
        ((-math.inf, 0, math.inf, 10), (0, 0, 100, 10)),
        ((101, 0, 120, 50), None),
        ((0, -20, 50, -1), None),
        ((0, 0, math.nan, 10), None),
        ((math.nan, 0, 10, 10), None),
    ],
)
def test_only_the_part_of_a_box_in_the_picture_is_drawn(
    box: tuple[float, float, float, float], visible: Rectangle | None
) -> None:
    """A box on the border is drawn; a box wholly outside is not."""
    boxes = lay_out([Mark("a", (box,))], (100, 50), CARRIED).boxes
    assert [shown.rectangle for shown in boxes] == ([] if visible is None else [visible])


def test_lines_and_letters_grow_with_the_picture() -> None:
    """Letters for 640×480 pixels would be invisible in a picture of 48 megapixels."""
    layouts = [lay_out([], size, CARRIED) for size in ((32, 32), (640, 480), (8000, 6000))]
    assert [layout.line_width for layout in layouts] == [1, 2, 28]
    assert [layout.font_size for layout in layouts] == [8, 13, 165]
