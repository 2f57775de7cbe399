"""Boxes and labels are drawn on a copy of the picture."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from app.pictures.drawing.draw import draw_marks
from app.pictures.drawing.labels import lay_out
from app.pictures.marks import Mark
from harness.marks import CARRIED, SIZES, marks_of

wild = st.floats() | st.sampled_from([math.inf, -math.inf, math.nan, 1e300, -1e300])


def changed(before: Image.Image, after: Image.Image) -> NDArray[np.bool_]:
    different: NDArray[np.bool_] = np.any(np.asarray(before) != np.asarray(after), axis=2)
    return different


@pytest.mark.slow
@settings(max_examples=50)
@given(marks_of(wild), SIZES)
def test_drawing_accepts_any_box(marks: list[Mark], size: tuple[int, int]) -> None:
    """A bad model may return infinite, inverted, empty and outlying boxes."""
    assert draw_marks(Image.new("RGB", size), marks, CARRIED).size == size


@pytest.mark.parametrize("index", range(0, 32, 8))
def test_only_the_edges_of_a_box_are_drawn(index: int) -> None:
    """Gaps of a pattern show the rim's colour, so that every edge is an unbroken line."""
    outside: list[Mark] = [Mark(None, ())] * index
    plain = Image.new("RGB", (400, 300), (120, 130, 140))
    drawn = draw_marks(plain, [*outside, Mark("x", ((50, 60, 350, 250),))], CARRIED)
    difference = changed(plain, drawn)
    assert difference[60, 50:350].all()
    assert difference[249, 50:350].all()
    assert difference[60:250, 50].all()
    assert difference[60:250, 349].all()
    assert not difference[70:240, 60:340].any()
    assert not difference[255:].any()


def test_the_given_picture_is_not_changed() -> None:
    """The caller may still use it."""
    plain = Image.new("RGB", (100, 100))
    draw_marks(plain, [Mark("x", ((10, 30, 90, 90),))], CARRIED)
    assert not changed(plain, Image.new("RGB", (100, 100))).any()


@pytest.mark.parametrize("order", [1, -1])
def test_small_boxes_are_drawn_on_top(order: int) -> None:
    """A large box would hide a small one completely."""
    plain = Image.new("RGB", (400, 300), "white")
    small, large = Mark(None, ((0, 100, 60, 160),)), Mark(None, ((0, 0, 400, 300),))
    alone = draw_marks(plain, [small, Mark(None, ())][::order], CARRIED)
    together = draw_marks(plain, [small, large][::order], CARRIED)
    edges = changed(plain, alone)
    assert not changed(alone, together)[edges].any()


def test_a_label_far_from_its_box_is_connected_by_a_line() -> None:
    """Twenty labels cannot all touch the same box."""
    marks = [Mark("a label", ((190, 190, 210, 210),))] * 20
    labels = lay_out(marks, (400, 400), CARRIED).labels
    plain = Image.new("RGB", (400, 400), "white")
    difference = changed(plain, draw_marks(plain, marks, CARRIED))
    for x0, y0, x1, y1 in (*(label.rectangle for label in labels), (190, 190, 210, 210)):
        difference[y0:y1, x0:x1] = False
    assert difference.any()  # parts of lines that no label hides


def test_a_picture_too_small_for_letters_shows_only_its_boxes() -> None:
    """Parts of letters would only hide the picture."""
    plain = Image.new("RGB", (8, 8), "white")
    marks = [Mark("a cat", ((1, 1, 7, 7),))]
    assert not lay_out(marks, plain.size, CARRIED).labels
    assert changed(plain, draw_marks(plain, marks, CARRIED)).sum() == 20
