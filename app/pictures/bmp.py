"""BMP files whose colours stand in bit fields that the file chooses; Pillow reads only some.

All others (palette, runs, 24 and 32 bits in the usual order) are Pillow's.
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
    """Where the pixels of a file are, and what their bits mean.

    Attributes:
        start: of the pixels, in bytes.
        bits: per pixel, 16 or 32.
        is_top_down: whether the first row is the picture's.
        masks: of red, green, blue and alpha; 0 for an alpha that is not there.
    """

    start: int
    width: int
    height: int
    bits: int
    is_top_down: bool
    masks: tuple[int, int, int, int]


def find_bit_fields(data: bytes) -> BitFields | None:
    """Return how a BMP keeps its pixels, if it does so in bit fields."""
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
    """Decode the pixels; RGB, or RGBA if any pixel is not clear, as browsers have it.

    Raises:
        InvalidImage: pixels are missing.
    """
    row_bytes = -(-fields.width * fields.bits // 32) * 4
    pixels = data[fields.start : fields.start + row_bytes * fields.height]
    if len(pixels) < row_bytes * fields.height:
        raise InvalidImage("the picture is cut short")
    words = np.frombuffer(pixels, f"<u{fields.bits // 8}").reshape(fields.height, -1)
    words = words[:: 1 if fields.is_top_down else -1, : fields.width]  # (H, W)
    *colours, alpha = (_band(words, mask) for mask in fields.masks)
    bands = [*colours, alpha] if alpha.any() else colours
    return Image.fromarray(np.stack(bands, axis=-1))


def _band(words: NDArray[np.unsignedinteger], mask: int) -> NDArray[np.uint8]:
    """One colour's bits as 8 bits, (H, W)."""
    if mask == 0:
        return np.zeros(words.shape, np.uint8)
    low, bits = (mask & -mask).bit_length() - 1, mask.bit_length()
    low = max(low, bits - 16)  # more than 16 bits say no more
    values = (words & words.dtype.type(mask)) >> low
    return scaled_to_eight_bits(values, bits - low)
