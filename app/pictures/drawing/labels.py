"""Lays out the boxes and labels of a picture, as plain data."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

from app.pictures.drawing.fonts import Fonts
from app.pictures.drawing.placement import LabelBox, Rectangle, place
from app.pictures.drawing.typesetting import Typesetter, one_line
from app.pictures.marks import Box, Mark

MAX_LABELS = 200
"""The first boxes, up to this number, get a label; the others are drawn without one."""

_SIDE_PER_EM = 42  # for a square picture
_SIDE_PER_LINE_WIDTH = 250
_MIN_FONT_SIZE = 8
_FULL_SIZE_LABELS = 16  # with more labels, letters shrink, and lines shrink a little
_LEAST_SHARE = 0.6  # of the full size


@dataclass(frozen=True)
class VisibleBox:
    """The part of a box inside the picture.

    Attributes:
        mark: the index of its entity in the list.
        rectangle: at least 1 pixel wide and high.
    """

    mark: int
    rectangle: Rectangle
    score: float | None


@dataclass(frozen=True)
class PlacedLabel:
    """A label with its position.

    Attributes:
        rectangle: its background, inside the picture.
        text: one line, shortened to fit.
    """

    box: VisibleBox
    rectangle: Rectangle
    text: str


@dataclass(frozen=True)
class Layout:
    """Everything that is drawn on a picture of one size.

    Attributes:
        line_width: of the boxes, in pixels.
        font_size: pixels per em.
        boxes: in the order of their entities.
        labels: in the order of their entities; their rectangles do not overlap.
    """

    line_width: int
    font_size: int
    boxes: tuple[VisibleBox, ...]
    labels: tuple[PlacedLabel, ...]


def lay_out(marks: Sequence[Mark], size: tuple[int, int], fonts: Fonts) -> Layout:
    """Return the boxes and labels to draw.

    Boxes wholly outside the picture are omitted, and so are boxes with an edge that is not a
    number. Swapped edges are sorted, and a box without extent is widened to one pixel. A label is
    at most half as wide as the picture, or as wide as its box. A label is omitted if it would be
    shortened to nothing or finds no free space.

    Args:
        marks: any number. The time is linear in the number of boxes and cubic in the number of
            labels, of which there are at most `MAX_LABELS`.
        size: width and height of the picture, 1 or more.

    >>> from app.pictures.drawing.fonts import load_fonts
    >>> layout = lay_out([Mark("a cat", ((10, 50, 90, 90),), (0.875,))], (200, 100), load_fonts())
    >>> [label.text for label in layout.labels], layout.boxes[0].rectangle
    (['a cat 0.88'], (10, 50, 90, 90))
    """
    boxes = tuple(_visible_boxes(marks, size))
    labelled = boxes[:MAX_LABELS]
    side = math.sqrt(size[0] * size[1])
    share = _share_of_full_size(len(labelled))
    font_size = max(_MIN_FONT_SIZE, round(side * share / _SIDE_PER_EM))
    line_width = max(1, round(side * math.sqrt(share) / _SIDE_PER_LINE_WIDTH))
    typesetter = Typesetter(fonts, font_size)
    texts = [_text(marks[box.mark], box, size, typesetter) for box in labelled]
    shown = [(box, text) for box, text in zip(labelled, texts, strict=True) if text is not None]
    padding = padding_of(font_size)
    wanted = [
        LabelBox(typesetter.width(text) + 2 * padding, typesetter.line_height, box.rectangle)
        for box, text in shown
    ]
    positions = place(wanted, size, inset=rim_of(line_width) * 2 + line_width)
    labels = (
        PlacedLabel(box, found, text)
        for (box, text), found in zip(shown, positions, strict=True)
        if found is not None
    )
    return Layout(line_width, font_size, boxes, tuple(labels))


def padding_of(font_size: int) -> int:
    """Return the space between a label's text and its sides, in pixels."""
    return max(1, font_size // 4)


def rim_of(line_width: int) -> int:
    """Return the width of the rim on either side of a line, in pixels; 0 for a 1-pixel line."""
    return max(1, line_width // 4) if line_width > 1 else 0


def _share_of_full_size(num_labels: int) -> float:
    """Return the relative font size for so many labels; labels keep about the same total area."""
    share = math.sqrt(_FULL_SIZE_LABELS / max(1, num_labels))
    return min(1.0, max(_LEAST_SHARE, share))


def _text(mark: Mark, box: VisibleBox, size: tuple[int, int], typesetter: Typesetter) -> str | None:
    phrase = one_line(mark.label or "") or f"#{box.mark + 1}"
    tail = "" if box.score is None else f" {box.score:.2f}"
    x0, _, x1, _ = box.rectangle
    room = max(x1 - x0, size[0] // 2, 8 * typesetter.line_height)
    max_width = min(room, size[0]) - 2 * padding_of(typesetter.line_height)
    return typesetter.shortened(phrase, tail, max_width)


def _visible_boxes(marks: Sequence[Mark], size: tuple[int, int]) -> Iterator[VisibleBox]:
    for index, mark in enumerate(marks):
        scores = chain(mark.scores, repeat(None))
        for box, score in zip(mark.boxes, scores, strict=False):
            rectangle = _visible_part(box, size)
            if rectangle is not None:
                finite = score if score is not None and math.isfinite(score) else None
                yield VisibleBox(index, rectangle, finite)


def _visible_part(box: Box, size: tuple[int, int]) -> Rectangle | None:
    horizontal = _visible_span(box[0], box[2], size[0])
    vertical = _visible_span(box[1], box[3], size[1])
    if horizontal is None or vertical is None:
        return None
    return horizontal[0], vertical[0], horizontal[1], vertical[1]


def _visible_span(one: float, other: float, length: int) -> tuple[int, int] | None:
    """Return whole pixels inside 0…length, at least one, or `None` if the span lies outside."""
    low, high = min(one, other), max(one, other)
    if math.isnan(one) or math.isnan(other) or low > length or high < 0:
        return None
    start = min(round(max(low, 0.0)), length - 1)
    return start, max(start + 1, round(min(high, float(length))))
