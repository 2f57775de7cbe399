"""Decodes BMP files with a palette.

Pillow refuses indices of 2 bits, which Windows CE wrote. It drops a palette of black and white or
of greys, and then reads the pixels with the wrong number of bits. It also misreads run lengths that
skip pixels.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.errors import InvalidImage

_OLD_HEADER, _HEADERS = 12, (40, 52, 56, 64, 108, 124)
_RUNS_OF_BYTES, _RUNS_OF_HALF_BYTES = 1, 2
_END_OF_ROW, _END_OF_PICTURE, _MOVE = 0, 1, 2


@dataclass(frozen=True)
class IndexLayout:
    """The palette, and the position and the layout of a file's palette indices.

    Attributes:
        start: offset of the indices, in bytes.
        bits: per index, 1, 2, 4 or 8.
        compression: 0 none, 1 run lengths of 8-bit indices, 2 run lengths of 4-bit indices.
        palette: the colours as stored, in order of the indices; missing ones are black.
        colour_bytes: per colour of the palette, 3 or 4.
    """

    start: int
    width: int
    height: int
    bits: int
    is_top_down: bool
    compression: int
    palette: bytes
    colour_bytes: int


def find_indices(data: bytes) -> IndexLayout | None:
    """Return the layout of a BMP with a palette, or `None` for any other BMP."""
    if len(data) < 54:
        return None
    start, header = struct.unpack_from("<II", data, 10)
    if header == _OLD_HEADER:
        width, height, bits = struct.unpack_from("<HHxxH", data, 18)
        compression, num_colours, colour_bytes = 0, 0, 3
    else:
        width, height, bits, compression = struct.unpack_from("<iixxHI", data, 18)
        num_colours, colour_bytes = struct.unpack_from("<I", data, 46)[0], 4
    is_known = header == _OLD_HEADER or header in _HEADERS
    if not is_known or bits not in (1, 2, 4, 8) or compression > _RUNS_OF_HALF_BYTES:
        return None
    if width < 1 or height == 0:
        raise InvalidImage("the picture has no pixels")
    end_of_header = 14 + header
    end_of_palette = end_of_header + (num_colours or 2**bits) * colour_bytes
    if start in (0, end_of_header):  # some programs do not count the palette
        start = end_of_palette
    palette = data[end_of_header:end_of_palette][: 256 * colour_bytes]
    return IndexLayout(
        start, width, abs(height), bits, height < 0, compression, palette, colour_bytes
    )


def read_indices(data: bytes, layout: IndexLayout) -> Image.Image:
    """Decode the pixels to a picture with a palette.

    Raises:
        InvalidImage: pixels are missing.
    """
    if layout.compression:
        indices = _unpacked_runs(data[layout.start :], layout)
    else:
        indices = _unpacked_rows(data, layout)
    # BMP stores the bottom row first unless the height is negative.
    indices = indices[:: 1 if layout.is_top_down else -1]  # (H, W)
    image = Image.fromarray(indices)
    image.putpalette(layout.palette, "BGRX" if layout.colour_bytes == 4 else "BGR")
    return image


def _unpacked_rows(data: bytes, layout: IndexLayout) -> NDArray[np.uint8]:
    """Return the indices in the order of the file, (H, W)."""
    row_bits = layout.width * layout.bits
    row_bytes = -(-row_bits // 32) * 4
    pixels = data[layout.start : layout.start + row_bytes * layout.height]
    # The last row may lack its padding.
    if len(pixels) < row_bytes * (layout.height - 1) + -(-row_bits // 8):
        raise InvalidImage("the picture is cut short")
    pixels = pixels.ljust(row_bytes * layout.height, b"\0")
    rows = np.frombuffer(pixels, np.uint8).reshape(layout.height, row_bytes, 1)
    shifts = np.arange(8 - layout.bits, -1, -layout.bits, dtype=np.uint8)
    # Of shape (H, bytes of a row, indices of a byte).
    indices: NDArray[np.uint8] = (rows >> shifts) & (2**layout.bits - 1)
    return indices.reshape(layout.height, -1)[:, : layout.width]


def _unpacked_runs(codes: bytes, layout: IndexLayout) -> NDArray[np.uint8]:
    """Return the indices in the order of the file, (H, W); skipped pixels are 0.

    Raises:
        InvalidImage: the codes end before the picture, or move out of it.
    """
    width, height = layout.width, layout.height
    bits = 4 if layout.compression == _RUNS_OF_HALF_BYTES else 8
    pixels = bytearray(width * height)
    x = y = offset = 0
    while y < height - 1 or (y < height and x < width):  # the end marker may be missing
        count, code = _two_bytes(codes, offset)
        if count == 0 and code == _END_OF_PICTURE:
            break
        if count == 0 and code == _END_OF_ROW:
            x, y, offset = 0, y + 1, offset + 2
        elif count == 0 and code == _MOVE:
            right, rows = _two_bytes(codes, offset + 2)
            x, y, offset = x + right, y + rows, offset + 4
            if x > width or y > height:
                raise InvalidImage("the picture is damaged")
        else:
            run, offset = _run(codes, offset, bits)
            run = run[: width - x]
            pixels[y * width + x : y * width + x + len(run)] = run
            x += len(run)
    return np.frombuffer(pixels, np.uint8).reshape(height, width)


def _two_bytes(codes: bytes, offset: int) -> tuple[int, int]:
    if offset + 2 > len(codes):
        raise InvalidImage("the picture is cut short")
    return codes[offset], codes[offset + 1]


def _run(codes: bytes, offset: int, bits: int) -> tuple[bytes, int]:
    """Return the indices of the run at `offset`, and where the next code starts."""
    count, code = codes[offset], codes[offset + 1]
    if count:
        repeated = _split(codes[offset + 1 : offset + 2], bits)
        return (repeated * count)[:count], offset + 2
    num_bytes = -(-code * bits // 8)
    listed = codes[offset + 2 : offset + 2 + num_bytes]
    if len(listed) < num_bytes:
        raise InvalidImage("the picture is cut short")
    return _split(listed, bits)[:code], offset + 2 + num_bytes + num_bytes % 2


def _split(stored: bytes, bits: int) -> bytes:
    """Return one index of 4 or 8 bits per byte."""
    if bits == 8:
        return stored
    return bytes(half for byte in stored for half in divmod(byte, 16))
