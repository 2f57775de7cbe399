"""Boxes and marks on a picture, as plain types that every process can import."""

from dataclasses import dataclass
from typing import Literal

Box = tuple[float, float, float, float]
"""Left, upper, right and lower edge (xyxy), in pixels or normalized to 0…1."""

BoxFormat = Literal["pixel", "normalized"]
"""The unit of a box that a user sends."""

MediaType = Literal["image/png", "image/jpeg", "image/webp"]
"""The file formats of annotated pictures."""


@dataclass(frozen=True)
class Mark:
    """An entity to draw.

    Attributes:
        label: the phrase. Without visible text, the label shows the entity's number in the list,
            starting with `#1`.
        boxes: only the parts inside the picture are drawn.
        scores: one per box, shown after the label; `None` for a box without a score. Empty if no
            scores are shown.
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
