"""Draws the entities of an answer on its picture."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from app.answers import Entity
from app.grounding.boxes import BoxFormat, scale_box
from app.pictures.decode import decode_picture
from app.pictures.draw import draw_marks
from app.pictures.encode import MediaType, encode_picture
from app.pictures.fonts import Fonts, load_fonts
from app.pictures.labels import Mark


def marks_of(entities: Sequence[Entity], *, shows_scores: bool) -> list[Mark]:
    """What to draw for the entities of an answer, in pixels of its picture."""
    return [
        Mark(
            label=entity.phrase,
            boxes=tuple(box.xyxy for box in entity.boxes),
            scores=tuple(box.score for box in entity.boxes) if shows_scores else (),
        )
        for entity in entities
    ]


def annotate_picture(
    image: bytes,
    marks: Sequence[Mark],
    media_type: MediaType,
    box_format: BoxFormat,
    *,
    max_pixels: int,
) -> bytes:
    """Return the upright picture with marks drawn on it, as a file without metadata.

    Args:
        image: the picture's file.
        marks: what to draw.
        media_type: of the file to make.
        box_format: the unit of the marks' boxes.
        max_pixels: of the picture.

    Raises:
        RequestError: the picture is at fault, or too large for the format.
    """
    upright = decode_picture(image, max_pixels=max_pixels).upright
    if box_format == "normalized":
        marks = [_in_pixels(mark, upright.width, upright.height) for mark in marks]
    return encode_picture(draw_marks(upright, marks, _fonts()), media_type)


def _in_pixels(mark: Mark, width: int, height: int) -> Mark:
    return replace(mark, boxes=tuple(scale_box(box, width, height) for box in mark.boxes))


@cache
def _fonts() -> Fonts:
    """Read once, when the first picture is drawn."""
    return load_fonts()
