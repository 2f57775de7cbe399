"""A picture with its predictions: the input of every conversion that has a picture's name."""

from dataclasses import dataclass
from typing import Literal

from kosmos2_client.results import Prediction

Orientation = Literal["upright", "stored"]
"""What boxes refer to: the picture as people see it, or the pixels in the order of the file."""


@dataclass(frozen=True)
class LabelledPicture:
    """A picture and the predictions that an export keeps.

    Attributes:
        path: relative to the root of the run, with forward slashes.
        width: in pixels, in `orientation`.
        height: in pixels, in `orientation`.
        exif_orientation: tag of the file, 1 to 8.
        predictions: their boxes are in `orientation`.
        orientation: what size and boxes refer to.
    """

    path: str
    width: int
    height: int
    exif_orientation: int
    predictions: tuple[Prediction, ...]
    orientation: Orientation = "upright"
