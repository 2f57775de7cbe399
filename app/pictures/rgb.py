"""Converts pictures of any mode to 8-bit RGB on white.

Colours use Pillow's own conversions. Colour profiles are not applied, as in the reference. This
module corrects two conversions of Pillow: transparent pixels become white, and deep grey is
rescaled where a plain conversion saturates.
"""

import numpy as np
from PIL import Image

from app.pictures.eight_bits import grey_of_numbers

_WHITE = (255, 255, 255)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return a new RGB picture of the same size, without metadata.

    Grey of 16 or more bits and floats become 8 bits by `grey_of_numbers`.
    """
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bit_grey(image)
    rgb = _on_white(image) if image.has_transparency_data else image.convert("RGB")
    rgb.info = {}
    return rgb


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":  # Pillow has no direct conversion to RGBA
        image = image.convert("LA")
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    white = Image.new("RGB", image.size, _WHITE)
    white.paste(rgba, mask=rgba)
    return white


def _eight_bit_grey(image: Image.Image) -> Image.Image:
    values = np.asarray(image)  # (H, W)
    grey = grey_of_numbers(values)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey)
