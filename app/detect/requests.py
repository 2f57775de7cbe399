"""Validated requests for detection: every field is within its limits."""

from dataclasses import dataclass
from typing import Literal

from app.pictures.tiles import TileOptions

MAX_CLASSES = 64
MAX_ROWS = 512
"""Rows of a detection: classes × views, where a view is the picture or one of its tiles."""

TOO_MANY_ROWS = "too_many_rows"
"""Code of the error above `MAX_ROWS`: a client has to know that another picture may have fewer."""

DEFAULT_MAX_PER_CLASS = 100
MAX_PER_CLASS = 300
DEFAULT_NMS_IOU = 0.5

TileChoice = Literal["none", "auto"] | TileOptions
"""No tiles, tiles that suit the picture's size, or tiles of a given size."""


@dataclass(frozen=True)
class Suppression:
    """Options of non-maximum suppression.

    Attributes:
        iou: of two boxes that overlap more, only the more confident one stays, 0…1.
        class_agnostic: whether boxes of different classes suppress each other.
    """

    iou: float = DEFAULT_NMS_IOU
    class_agnostic: bool = False


@dataclass(frozen=True)
class DetectRequest:
    """A request to find classes of objects.

    Attributes:
        image: the picture's file.
        classes: 1 to `MAX_CLASSES` different names.
        threshold: least confidence of a prediction, 0…1; `None` selects the checkpoint's default.
        max_per_class: the most confident predictions of a class that are returned.
    """

    image: bytes
    classes: tuple[str, ...]
    threshold: float | None = None
    max_per_class: int = DEFAULT_MAX_PER_CLASS
    suppression: Suppression = Suppression()
    tiles: TileChoice = "none"
