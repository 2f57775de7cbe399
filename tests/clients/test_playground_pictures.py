"""The playground with very wide, very tall and turned pictures."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from app.contract.examples import EXAMPLE_SCENE
from tests.clients.playground_page import Playground

ORIENTATION = 0x0112
STORED = {
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a picture is stored whose EXIF orientation turns it upright."""

STEEP = (100, 2000)
SMALL = (48, 32)
IS_IN_SIGHT = """(box, stage) => {
  const [inner, outer] = [box, stage].map((part) => part.getBoundingClientRect());
  return inner.bottom > outer.top && inner.top < outer.bottom;
}"""


def open_picture(playground: Playground, picture: Image.Image, kind: str, **options: Any) -> None:
    """Choose a picture in the file dialog, and wait for its caption."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    playground("#file").set_input_files(
        {
            "name": f"picture.{kind.lower()}",
            "mimeType": f"image/{kind.lower()}",
            "buffer": file.getvalue(),
        }
    )
    playground.wait_until_answered()


def colours(picture: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(picture.convert("RGB").resize(SMALL), np.int16)


@pytest.mark.parametrize("size", [(8000, 2), (2000, 20)])
def test_a_very_wide_picture_fills_the_width(playground: Playground, size: tuple[int, int]) -> None:
    open_picture(playground, Image.new("RGB", size, "red"), "PNG")
    sheet, stage = (playground(name).bounding_box() for name in ("#stage .sheet", "#stage"))
    assert sheet["width"] == pytest.approx(stage["width"], abs=3)


def test_a_very_tall_picture_is_wide_enough_and_scrolls_to_the_box_of_an_entry(
    playground: Playground,
) -> None:
    picture = Image.new("RGB", STEEP, "white")
    ImageDraw.Draw(picture).ellipse((10, 100, 90, 180), fill="red")
    open_picture(playground, picture, "PNG")
    assert playground("#stage .sheet").bounding_box()["width"] >= 60
    box, stage = (playground(name).first for name in ("#stage .box", "#stage"))
    stage.evaluate("stage => (stage.scrollTop = stage.scrollHeight)")
    assert not box.evaluate(IS_IN_SIGHT, stage.element_handle())
    playground("#boxes .item").first.focus()
    assert box.evaluate(IS_IN_SIGHT, stage.element_handle())


@pytest.mark.parametrize("kind", ["WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", STORED)
def test_a_turned_picture_is_shown_upright_below_its_boxes(
    playground: Playground, kind: str, orientation: int
) -> None:
    """Chromium ignores the EXIF orientation of WebP, and the service applies it."""
    upright = Image.open(EXAMPLE_SCENE)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    open_picture(playground, upright.transpose(STORED[orientation]), kind, exif=exif, quality=95)
    assert playground.boxes.count() > 0
    playground.set_slider(100)
    assert playground.boxes.count() == 0
    shown = Image.open(io.BytesIO(playground("#stage .sheet").screenshot()))
    assert np.abs(colours(shown) - colours(upright)).mean() < 6
