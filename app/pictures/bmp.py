"""Decodes BMP files with bit fields, of which Pillow reads only some.

`bmp_palette.py` reads palettes. Pillow reads all other BMP files: 16, 24 and 32 bits in the usual
order.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.errors import InvalidImage
from app.pictures.eight_bits import scaled_to_eight_bits

SIGNATURE = b"BM"

_BITFIELDS, _ALPHA_BITFIELDS = 3, 6
_HEADER_WITH_ALPHA = 56


@dataclass(frozen=True)
class BitFields:
    """The position and the bit layout of a file's pixels.

    Attributes:
        start: offset of the pixels, in bytes.
        bits: per pixel, 16 or 32.
        is_top_down: whether the first stored row is the top row.
        masks: of red, green, blue and alpha; 0 for a missing alpha.
    """

    start: int
    width: int
    height: int
    bits: int
    is_top_down: bool
    masks: tuple[int, int, int, int]


def find_bit_fields(data: bytes) -> BitFields | None:
    """Return the pixel layout of a BMP with bit fields, or `None` for any other BMP."""
    if len(data) < 70:
        return None
    start, header, width, height, bits, compression = struct.unpack_from("<IIiixxHI", data, 10)
    if header < 40 or bits not in (16, 32) or compression not in (_BITFIELDS, _ALPHA_BITFIELDS):
        return None
    if width < 1 or height == 0:
        raise InvalidImage("the picture has no pixels")
    red, green, blue, alpha = (mask % 2**bits for mask in struct.unpack_from("<4I", data, 54))
    if header < _HEADER_WITH_ALPHA and compression != _ALPHA_BITFIELDS:
        alpha = 0
    return BitFields(start, width, abs(height), bits, height < 0, (red, green, blue, alpha))


def read_bit_fields(data: bytes, fields: BitFields) -> Image.Image:
    """Decode the pixels to RGB, or to RGBA if any alpha is not zero, as browsers do.

    Raises:
        InvalidImage: pixels are missing.
    """
    row_bytes = -(-fields.width * fields.bits // 32) * 4
    pixels = data[fields.start : fields.start + row_bytes * fields.height]
    if len(pixels) < row_bytes * fields.height:
        raise InvalidImage("the picture is cut short")
    words = np.frombuffer(pixels, f"<u{fields.bits // 8}").reshape(fields.height, -1)
    # BMP stores the bottom row first unless the height is negative.
    words = words[:: 1 if fields.is_top_down else -1, : fields.width]  # (H, W)
    *colours, alpha = (_band(words, mask) for mask in fields.masks)
    bands = [*colours, alpha] if alpha.any() else colours
    return Image.fromarray(np.stack(bands, axis=-1))


def _band(words: NDArray[np.unsignedinteger], mask: int) -> NDArray[np.uint8]:
    """Return one colour as 8 bits per pixel, (H, W)."""
    if mask == 0:
        return np.zeros(words.shape, np.uint8)
    low, bits = (mask & -mask).bit_length() - 1, mask.bit_length()
    low = max(low, bits - 16)  # bits beyond the 16 highest do not change the result
    values = (words & words.dtype.type(mask)) >> low
    return scaled_to_eight_bits(values, bits - low)
