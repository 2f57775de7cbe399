"""Draws the entities of an answer on the picture."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from app.pictures.decode import decode_upright
from app.pictures.drawing.draw import draw_marks
from app.pictures.drawing.fonts import Fonts, load_fonts
from app.pictures.encode import encode_picture
from app.pictures.marks import BoxFormat, Mark, MediaType, scale_box


class Annotator:
    """Draws on users' pictures. Reads the fonts for the first picture, or in `load_fonts`."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels

    def annotate(
        self, image: bytes, marks: Sequence[Mark], media_type: MediaType, box_format: BoxFormat
    ) -> bytes:
        """Return the upright picture with marks drawn on it, as a file without metadata.

        Args:
            media_type: of the returned file.
            box_format: the unit of the marks' boxes.

        Raises:
            RequestError: the picture is invalid, or too large for the format.
        """
        upright = decode_upright(image, max_pixels=self._max_pixels)
        if box_format == "normalized":
            marks = [_in_pixels(mark, upright.width, upright.height) for mark in marks]
        return encode_picture(draw_marks(upright, marks, self._fonts), media_type)

    def load_fonts(self) -> None:
        """Read the fonts now. A process that cannot open files later calls this first."""
        self._fonts.load()

    @cached_property
    def _fonts(self) -> Fonts:
        return load_fonts()


def _in_pixels(mark: Mark, width: int, height: int) -> Mark:
    return replace(mark, boxes=tuple(scale_box(box, width, height) for box in mark.boxes))
