"""Pictures of any mode as 8-bit RGB on white.

Colours are Pillow's own conversions; colour profiles are not applied, as in the reference. What
Pillow would get wrong is done here: transparency shows white, and deep grey is rescaled where a
plain conversion saturates.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_WHITE = (255, 255, 255)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return a new RGB picture of the same size, without metadata.

    Grey of 16 bits is divided by 257, and so are integers of 32 bits if all lie within 16. Floats
    are multiplied by 255 if all lie within 0…1. Other integers and floats have no fixed white:
    their least finite value becomes black, their greatest white.
    """
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bit_grey(image)
    rgb = _on_white(image) if image.has_transparency_data else image.convert("RGB")
    rgb.info = {}
    return rgb


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":  # Pillow knows no direct way
        image = image.convert("LA")
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    white = Image.new("RGB", image.size, _WHITE)
    white.paste(rgba, mask=rgba)
    return white


def _eight_bit_grey(image: Image.Image) -> Image.Image:
    values = np.asarray(image)  # (H, W)
    grey = _grey_of_integers(values) if values.dtype.kind in "iu" else _grey_of_floats(values)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey)


def _grey_of_integers(values: NDArray[np.integer]) -> NDArray[np.uint8]:
    if values.min() < 0 or values.max() > 65535:
        return _stretched(values, values.min(), values.max())
    eight_bit: NDArray[np.uint8] = ((np.arange(65536) + 128) // 257).astype(np.uint8)
    return np.take(eight_bit, values)


def _grey_of_floats(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return np.zeros(values.shape, np.uint8)
    low, high = finite.min(), finite.max()
    if low >= 0.0 and high <= 1.0:
        low, high = finite.dtype.type(0), finite.dtype.type(1)
    return _stretched(np.nan_to_num(values, nan=low, posinf=high, neginf=low), low, high)


def _stretched(values: NDArray[np.generic], low: np.generic, high: np.generic) -> NDArray[np.uint8]:
    span = float(high) - float(low)
    if span == 0.0:
        return np.zeros(values.shape, np.uint8)
    return np.rint((values.astype(np.float64) - float(low)) * (255.0 / span)).astype(np.uint8)
