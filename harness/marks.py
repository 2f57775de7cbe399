"""Marks to draw on pictures, fonts for them, and properties of what was drawn."""

from hypothesis import strategies as st

from app.pictures.drawing.fonts import Fonts, load_fonts
from app.pictures.drawing.placement import Rectangle
from app.pictures.marks import Mark

FONTS = load_fonts()
CARRIED = Fonts(FONTS.typefaces[:1], FONTS.layout)
"""The font of this project, which is present on every machine."""

SIZES = st.tuples(st.integers(1, 400), st.integers(1, 400))
_labels = st.none() | st.text(max_size=60)


def marks_of(edges: st.SearchStrategy[float]) -> st.SearchStrategy[list[Mark]]:
    """Return lists of marks whose boxes have such edges."""
    boxes = st.lists(st.tuples(edges, edges, edges, edges), max_size=4).map(tuple)
    scores = st.lists(st.none() | st.floats(), max_size=4).map(tuple)
    return st.lists(st.builds(Mark, _labels, boxes, scores), max_size=12)


def overlap(one: Rectangle, other: Rectangle) -> bool:
    """Return whether two rectangles share a pixel."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def is_inside(rectangle: Rectangle, size: tuple[int, int]) -> bool:
    """Return whether a rectangle is not empty and lies within a picture of this size."""
    x0, y0, x1, y1 = rectangle
    return 0 <= x0 < x1 <= size[0] and 0 <= y0 < y1 <= size[1]
