"""Turns boxes between the upright picture and the picture as stored in its file.

The service reads the EXIF tag and answers in pixels of the upright picture. Tools that ignore the
tag see the stored picture.
"""

from dataclasses import replace

from kosmos2_client.conversions.pictures import LabelledPicture
from kosmos2_client.entities import Edges
from kosmos2_client.results import Image, Prediction

_FLIPS = {
    2: (True, False),
    3: (True, True),
    4: (False, True),
    6: (True, False),
    7: (True, True),
    8: (False, True),
}
"""By EXIF tag: whether the stored picture runs from right to left, and from the bottom up."""

_FIRST_TURNED = 5
"""From this tag on, the rows of the stored picture are columns of the upright one."""


def swaps_sides(exif_orientation: int) -> bool:
    """Return whether the width of the stored picture is the height of the upright one."""
    return _FIRST_TURNED <= exif_orientation <= 8


def to_stored(box: Edges, image: Image) -> Edges:
    """Return a box of the upright picture in pixels of the stored one.

    Args:
        image: its size is that of the upright picture.

    >>> to_stored((10, 20, 30, 60), Image(width=100, height=200, orientation=6))
    (20, 70, 60, 90)
    """
    flipped = _flip(box, image)
    return _swap(flipped) if swaps_sides(image.orientation) else flipped


def to_upright(box: Edges, image: Image) -> Edges:
    """Return a box of the stored picture in pixels of the upright one.

    Args:
        image: its size is that of the upright picture.

    >>> to_upright((20, 70, 60, 90), Image(width=100, height=200, orientation=6))
    (10, 20, 30, 60)
    """
    return _flip(_swap(box) if swaps_sides(image.orientation) else box, image)


def as_stored(picture: LabelledPicture) -> LabelledPicture:
    """Return a picture with its size and its boxes as stored in the file."""
    if picture.orientation == "stored":
        return picture
    image = Image(picture.width, picture.height, picture.exif_orientation)
    width, height = image.width, image.height
    if swaps_sides(image.orientation):
        width, height = height, width
    unit = Image(1, 1, image.orientation)

    def turn(prediction: Prediction) -> Prediction:
        return replace(
            prediction,
            xyxy=to_stored(prediction.xyxy, image),
            xyxy_normalized=to_stored(prediction.xyxy_normalized, unit),
        )

    return replace(
        picture,
        width=width,
        height=height,
        predictions=tuple(turn(prediction) for prediction in picture.predictions),
        orientation="stored",
    )


def _flip(box: Edges, image: Image) -> Edges:
    left, top, right, bottom = box
    flips_across, flips_down = _FLIPS.get(image.orientation, (False, False))
    if flips_across:
        left, right = image.width - right, image.width - left
    if flips_down:
        top, bottom = image.height - bottom, image.height - top
    return left, top, right, bottom


def _swap(box: Edges) -> Edges:
    left, top, right, bottom = box
    return top, left, bottom, right
