"""BMP files of every depth, header and mask, written by hand, with the pixels that they show."""

import itertools
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.scenery import ALPHA, HEIGHT, LANDSCAPE, PALETTE_COLOURS, WIDTH

_MASKS = {
    "565": (16, (0xF800, 0x07E0, 0x001F, 0)),
    "555": (16, (0x7C00, 0x03E0, 0x001F, 0)),
    "444": (16, (0x0F00, 0x00F0, 0x000F, 0)),
    "4444": (16, (0x0F00, 0x00F0, 0x000F, 0xF000)),
    "1555": (16, (0x7C00, 0x03E0, 0x001F, 0x8000)),
    "bgrx": (32, (0x00FF0000, 0x0000FF00, 0x000000FF, 0)),
    "bgra": (32, (0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000)),
    "rgbx": (32, (0x000000FF, 0x0000FF00, 0x00FF0000, 0)),
    "rgba": (32, (0x000000FF, 0x0000FF00, 0x00FF0000, 0xFF000000)),
    "xrgb": (32, (0xFF000000, 0x00FF0000, 0x0000FF00, 0)),
    "abgr": (32, (0xFF000000, 0x00FF0000, 0x0000FF00, 0x000000FF)),
    "10-bit": (32, (0x3FF00000, 0x000FFC00, 0x000003FF, 0)),
}


def bmp_files() -> Iterator[tuple[str, bytes, NDArray[np.float64] | None]]:
    """Yield the name and the content of a file of every kind, and the pixels that readers draw.

    The pixels are (H, W, 3) of 0…255, and `None` where independent readers agree on the file.
    """
    for bits, header, top_down in itertools.product(
        (1, 2, 4, 8, 16, 24, 32), (12, 40, 64, 108, 124), (False, True)
    ):
        # The header of 12 bytes has no negative height and only these depths.
        if header != 12 or (bits in (1, 4, 8, 24) and not top_down):
            direction = "top-down" if top_down else "bottom-up"
            data = _bmp(bits, header, top_down=top_down)
            pixels = _pixels(bits, None) if header == 12 else None
            yield f"BMP bits={bits} header={header} {direction}", data, pixels
    for name, (bits, masks) in _MASKS.items():
        for header in (40, 56, 108, 124):
            # The header of 40 bytes has no mask for alpha.
            if header > 40 or not masks[3]:
                data = _bmp(bits, header, masks=masks)
                pixels = _pixels(bits, masks)
                yield f"BMP masks={name} header={header}", data, pixels
    for bits in (4, 8):
        data, pixels = _bmp(bits, 40, is_packed=True), _pixels(bits, None)
        yield f"BMP run lengths bits={bits}", data, pixels


def _bmp(
    bits: int,
    header: int,
    *,
    masks: tuple[int, int, int, int] | None = None,
    top_down: bool = False,
    is_packed: bool = False,
) -> bytes:
    rows = _rows(bits, masks)
    if not top_down:
        rows = rows[::-1]
    if is_packed:
        pixels = b"".join(_runs(row, bits) for row in rows) + b"\0\1"
    else:
        pixels = b"".join(row.tobytes().ljust(-(-len(row) // 4) * 4, b"\0") for row in rows)
    compression = {4: 2, 8: 1}[bits] if is_packed else 3 if masks else 0
    height = -HEIGHT if top_down else HEIGHT
    info = _info(bits, header, masks, height, compression, len(pixels))
    palette = b""
    if bits <= 8:
        colours = (PALETTE_COLOURS[: 2**bits] >> 8).astype(np.uint8)[:, ::-1]
        palette = b"".join(c.tobytes() + (b"" if header == 12 else b"\0") for c in colours)
    start = 14 + len(info) + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start) + info + palette + pixels


def _info(
    bits: int,
    header: int,
    masks: tuple[int, int, int, int] | None,
    height: int,
    compression: int,
    num_bytes: int,
) -> bytes:
    """Return the header that describes the pixels; its length is its version."""
    if header == 12:
        return struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, bits)
    colours = 2**bits if bits <= 8 else 0
    resolution = 2835  # pixels per metre: 72 dpi
    numbers = (header, WIDTH, height, 1, bits, compression, num_bytes, resolution, resolution)
    info = struct.pack("<IiiHHIIiiII", *numbers, colours, 0)
    if header > 52:
        info += struct.pack("<4I", *(masks or (0, 0, 0, 0)))
    info = info.ljust(header, b"\0")
    if header == 40 and masks:
        info += struct.pack("<3I", *masks[:3])
    if header >= 108:
        # The colour space sRGB, as a little-endian number.
        info = info[:56] + b"BGRs" + info[60:]
    return info


def _rows(bits: int, masks: tuple[int, ...] | None) -> NDArray[np.uint8]:
    if bits <= 8:
        levels = np.rint(LANDSCAPE.mean(-1) * (2**bits - 1)).astype(np.int64)
        set_bits = (levels[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        return np.packbits(set_bits.reshape(HEIGHT, -1).astype(np.uint8), axis=1)
    if bits == 24:
        return np.asarray(np.rint(LANDSCAPE * 255), np.uint8)[..., ::-1].reshape(HEIGHT, -1)
    default = (0x7C00, 0x3E0, 0x1F, 0) if bits == 16 else (0xFF0000, 0xFF00, 0xFF, 0)
    words = np.zeros((HEIGHT, WIDTH), np.uint64)
    bands = np.concatenate([LANDSCAPE, ALPHA[..., None]], -1)
    for band, mask in enumerate(masks or default):
        if mask:
            # The lowest bit of the mask.
            low = (mask & -mask).bit_length() - 1
            words |= np.rint(bands[..., band] * (mask >> low)).astype(np.uint64) << np.uint64(low)
    return words.astype(f"<u{bits // 8}").view(np.uint8).reshape(HEIGHT, -1)


def _pixels(bits: int, masks: tuple[int, ...] | None) -> NDArray[np.float64]:
    """Return the drawn pixels, with as many levels as the bits allow. Chromium shows the same."""
    if bits <= 8:
        levels = np.rint(LANDSCAPE.mean(-1) * (2**bits - 1)).astype(np.int64)
        return np.asarray(PALETTE_COLOURS[levels] >> 8, np.float64)
    counts = [bin(mask).count("1") for mask in masks or (255, 255, 255, 0)]
    red, green, blue = (_levels(LANDSCAPE[..., n], counts[n]) for n in range(3))
    alpha = _levels(ALPHA, counts[3]) if counts[3] else np.ones_like(red)
    return (np.stack([red, green, blue], -1) * alpha[..., None] + 1 - alpha[..., None]) * 255


def _levels(values: NDArray[Any], bits: int) -> NDArray[np.float64]:
    return np.asarray(np.rint(values * (2**bits - 1)) / (2**bits - 1), np.float64)


def _runs(row: NDArray[np.uint8], bits: int) -> bytes:
    """Return a row as run lengths: pairs of a pixel count and a value."""
    pixels = row if bits == 8 else np.stack([row >> 4, row & 15], -1).ravel()[:WIDTH]
    runs = ((len(list(run)), value) for value, run in itertools.groupby(pixels.tolist()))
    # In 4 bits the byte has two pixels: times 17 repeats the value.
    pairs = (bytes([count, value * 17 if bits == 4 else value]) for count, value in runs)
    return b"".join(pairs) + b"\0\0"
