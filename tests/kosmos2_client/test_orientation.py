"""Boxes of rotated pictures; Pillow is the reference for what an EXIF tag means."""

import pytest
from PIL import Image as PillowImage
from PIL import ImageOps

from kosmos2_client.conversions.orientation import as_stored, to_stored, to_upright
from kosmos2_client.conversions.pictures import LabelledPicture
from kosmos2_client.results import Image, Prediction

STORED_BOX = (3, 5, 10, 9)
STORED_SIZE = (24, 16)


def upright_picture(tag: int) -> PillowImage.Image:
    """A picture whose only white pixels are those of `STORED_BOX`, after the turn."""
    stored = PillowImage.new("L", STORED_SIZE)
    stored.paste(255, STORED_BOX)
    stored.getexif()[0x0112] = tag
    return ImageOps.exif_transpose(stored)


@pytest.mark.parametrize("tag", range(1, 9))
def test_a_box_is_turned_back_to_where_its_pixels_are_stored(tag: int) -> None:
    upright = upright_picture(tag)
    image = Image(*upright.size, orientation=tag)
    box = upright.getbbox()
    assert box is not None
    assert to_stored(box, image) == STORED_BOX
    assert to_upright(STORED_BOX, image) == box


@pytest.mark.parametrize("tag", range(1, 9))
def test_a_stored_picture_has_the_size_of_its_file(tag: int) -> None:
    upright = upright_picture(tag)
    width, height = upright.size
    left, top, right, bottom = upright.getbbox() or ()
    share = (left / width, top / height, right / width, bottom / height)
    prediction = Prediction("a", 0, (left, top, right, bottom), share, 0.5)
    stored = as_stored(LabelledPicture("a.jpg", width, height, tag, (prediction,)))
    assert ((stored.width, stored.height), stored.orientation) == (STORED_SIZE, "stored")
    assert stored.predictions[0].xyxy == STORED_BOX
    expected = [edge / side for edge, side in zip(STORED_BOX, STORED_SIZE * 2, strict=True)]
    assert stored.predictions[0].xyxy_normalized == pytest.approx(expected)
    assert as_stored(stored) == stored
