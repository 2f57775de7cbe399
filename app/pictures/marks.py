"""Boxes and marks on a picture, as plain types that every process can import."""

from dataclasses import dataclass
from typing import Literal

Box = tuple[float, float, float, float]
"""Left, upper, right and lower edge (xyxy), in pixels or normalized to 0…1."""

BoxFormat = Literal["pixel", "normalized"]
"""The unit of a box that a user sends."""

MediaType = Literal["image/png", "image/jpeg", "image/webp"]
"""The formats that annotated pictures come in."""


@dataclass(frozen=True)
class Mark:
    """An entity to draw.

    Attributes:
        label: the phrase; without one, or with nothing in it that can be seen, the entity's number
            in the list is shown, `#1` being the first.
        boxes: each is drawn as far as it lies in the picture.
        scores: one per box, shown behind the label; none for a box without. Empty: none at all.
    """

    label: str | None
    boxes: tuple[Box, ...]
    scores: tuple[float | None, ...] = ()


def scale_box(box: Box, width: int, height: int) -> Box:
    """Return a normalised box in pixels of a picture of `width` × `height`.

    >>> scale_box((0.390625, 0.046875, 0.984375, 0.828125), 1024, 1024)
    (400.0, 48.0, 1008.0, 848.0)
    """
    x0, y0, x1, y1 = box
    return x0 * width, y0 * height, x1 * width, y1 * height
