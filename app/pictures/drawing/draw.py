"""Draws boxes and labels on a picture."""

from collections.abc import Iterator, Sequence
from itertools import cycle

from PIL import Image, ImageDraw

from app.pictures.drawing.fonts import Fonts
from app.pictures.drawing.labels import Layout, PlacedLabel, VisibleBox, lay_out, padding_of, rim_of
from app.pictures.drawing.palette import Colour, Pattern, Style, style_of
from app.pictures.drawing.placement import Rectangle
from app.pictures.drawing.typesetting import Typesetter
from app.pictures.marks import Mark

# Lengths of dashes and gaps, alternating, in line widths.
_DASHES: dict[Pattern, tuple[int, ...]] = {
    "dashed": (5, 3),
    "dotted": (1, 2),
    "dash-dotted": (5, 2, 1, 2),
}


def draw_marks(image: Image.Image, marks: Sequence[Mark], fonts: Fonts) -> Image.Image:
    """Return a copy of a picture with entities drawn on it, each in its own style.

    `lay_out` decides about boxes and labels that do not fit. If a label had to be moved away from
    its box, a line connects the two.

    Args:
        image: RGB.
        marks: the entities; their order determines styles and numbers.

    >>> from app.pictures.drawing.fonts import load_fonts
    >>> plain = Image.new("RGB", (200, 100), "white")
    >>> drawn = draw_marks(plain, [Mark("a cat", ((10, 50, 90, 90),))], load_fonts())
    >>> drawn.getpixel((10, 70)), plain.getpixel((10, 70))
    ((24, 69, 251), (255, 255, 255))
    """
    layout = lay_out(marks, image.size, fonts)
    drawn = image.copy()
    draw = ImageDraw.Draw(drawn)
    for box in sorted(layout.boxes, key=_area, reverse=True):  # draw small boxes on top
        _draw_box(draw, box.rectangle, layout.line_width, style_of(box.mark))
    for label in layout.labels:
        _draw_tie(draw, label, layout.line_width)
    typesetter = Typesetter(fonts, layout.font_size)
    for label in layout.labels:
        drawn.paste(_label(label, layout, typesetter), label.rectangle[:2])
    return drawn


def _area(box: VisibleBox) -> int:
    x0, y0, x1, y1 = box.rectangle
    return (x1 - x0) * (y1 - y0)


def _draw_box(draw: ImageDraw.ImageDraw, box: Rectangle, line_width: int, style: Style) -> None:
    rim = rim_of(line_width)
    _ring(draw, box, line_width + 2 * rim, style.ink)
    line = _shrunk(box, rim)
    if style.pattern == "solid":
        _ring(draw, line, line_width, style.colour)
        return
    for dash in _dashes(line, line_width, _DASHES[style.pattern]):
        _fill(draw, dash, style.colour)


def _ring(draw: ImageDraw.ImageDraw, box: Rectangle, width: int, colour: Colour) -> None:
    """Draw the edge of a box, inside its rectangle."""
    x0, y0, x1, y1 = box
    # Pillow draws a line wider than half the box beyond the opposite edge.
    at_most = (min(x1 - x0, y1 - y0) + 1) // 2
    draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=colour, width=min(width, at_most))


def _dashes(box: Rectangle, width: int, lengths: tuple[int, ...]) -> Iterator[Rectangle]:
    """Yield the dashes along the edge of a box, each side starting at its upper or left end."""
    x0, y0, x1, y1 = box
    thick_x, thick_y = min(width, x1 - x0), min(width, y1 - y0)
    for start, end in _spans(x0, x1, width, lengths):
        yield start, y0, end, y0 + thick_y
        yield start, y1 - thick_y, end, y1
    for start, end in _spans(y0, y1, width, lengths):
        yield x0, start, x0 + thick_x, end
        yield x1 - thick_x, start, x1, end


def _spans(start: int, end: int, width: int, lengths: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    for index, length in enumerate(cycle(lengths)):
        if start >= end:
            return
        if index % 2 == 0:
            yield start, min(start + length * width, end)
        start += length * width


def _draw_tie(draw: ImageDraw.ImageDraw, label: PlacedLabel, line_width: int) -> None:
    x0, y0, x1, y1 = label.rectangle
    left, top, right, bottom = label.box.rectangle
    style = style_of(label.box.mark)
    from_x, to_x = _nearest(x0, x1, left, right)
    from_y, to_y = _nearest(y0, y1, top, bottom)
    if max(abs(from_x - to_x), abs(from_y - to_y)) <= line_width:
        return
    ends = from_x, from_y, to_x, to_y
    draw.line(ends, style.ink, line_width + 2 * rim_of(line_width))
    draw.line(ends, style.colour, line_width)


def _nearest(start: int, end: int, other_start: int, other_end: int) -> tuple[int, int]:
    """Return, along one axis, the points of two spans that are nearest to each other."""
    if end < other_start:
        return end, other_start
    if other_end < start:
        return start, other_end
    middle = (max(start, other_start) + min(end, other_end)) // 2
    return middle, middle


def _label(label: PlacedLabel, layout: Layout, typesetter: Typesetter) -> Image.Image:
    """Draw a label on a picture of its own, so that no glyph reaches beyond its background."""
    x0, y0, x1, y1 = label.rectangle
    style = style_of(label.box.mark)
    ground = Image.new("RGB", (x1 - x0, y1 - y0), style.colour)
    left = padding_of(layout.font_size)
    typesetter.draw(ImageDraw.Draw(ground), left, typesetter.ascent, label.text, style.ink)
    return ground


def _shrunk(box: Rectangle, by: int) -> Rectangle:
    x0, y0, x1, y1 = box
    by_x, by_y = min(by, (x1 - x0 - 1) // 2), min(by, (y1 - y0 - 1) // 2)
    return x0 + by_x, y0 + by_y, x1 - by_x, y1 - by_y


def _fill(draw: ImageDraw.ImageDraw, box: Rectangle, colour: Colour) -> None:
    x0, y0, x1, y1 = box
    draw.rectangle((x0, y0, x1 - 1, y1 - 1), fill=colour)
