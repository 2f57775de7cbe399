"""BMP files of every depth, header and mask, written by hand, with the pixels that they show."""

import itertools
import struct
from collections.abc import Callable, Iterator
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
_COLOURS = (PALETTE_COLOURS[:256] >> 8).astype(np.uint8)
"""The palette of most files, (256, 3)."""

_PALETTES = {
    "black and white": np.repeat(np.array([[0], [255]], np.uint8), 3, axis=1),
    "white and black": np.repeat(np.array([[255], [0]], np.uint8), 3, axis=1),
    "dark greys": np.repeat(np.arange(16, dtype=np.uint8)[:, None], 3, axis=1),
}


def bmp_files() -> Iterator[tuple[str, bytes, NDArray[np.float64] | None]]:
    """Yield the name and the content of a file of every kind, and the pixels that readers draw.

    The pixels are (H, W, 3) of 0…255, and `None` where independent readers agree on the file; they
    refuse 2 bits.
    """
    for bits, header, top_down in itertools.product(
        (1, 2, 4, 8, 16, 24, 32), (12, 40, 64, 108, 124), (False, True)
    ):
        # The header of 12 bytes has no negative height and only these depths.
        if header != 12 or (bits in (1, 4, 8, 24) and not top_down):
            direction = "top-down" if top_down else "bottom-up"
            data = _bmp(bits, header, top_down=top_down)
            pixels = _pixels(bits, None) if header == 12 or bits == 2 else None
            yield f"BMP bits={bits} header={header} {direction}", data, pixels
    for name, (bits, masks) in _MASKS.items():
        for header in (40, 56, 108, 124):
            # The header of 40 bytes has no mask for alpha.
            if header > 40 or not masks[3]:
                data = _bmp(bits, header, masks=masks)
                pixels = _pixels(bits, masks)
                yield f"BMP masks={name} header={header}", data, pixels
    yield from _palettes()
    yield from _run_lengths()


def _palettes() -> Iterator[tuple[str, bytes, NDArray[np.float64]]]:
    """Yield files with fewer colours than their bits allow; some are grey."""
    for (name, palette), bits in itertools.product(_PALETTES.items(), (1, 4, 8)):
        indices = _indices(min(bits, len(palette).bit_length() - 1))
        data = _bmp(bits, 40, indices=indices, palette=palette)
        pixels = np.asarray(palette[indices], np.float64)
        yield f"BMP palette={name} bits={bits}", data, pixels


def _run_lengths() -> Iterator[tuple[str, bytes, NDArray[np.float64]]]:
    for bits, (name, pack) in itertools.product((4, 8), _PACKERS.items()):
        indices = _indices(bits)
        if pack is _moves:
            indices[:7] = indices[20:22] = indices[10:15, 5:30] = indices[25:30, 30:] = 0
        data = _bmp(bits, 40, indices=indices, pack=pack)
        pixels = np.asarray(_COLOURS[indices], np.float64)
        yield f"BMP run lengths, {name} bits={bits}", data, pixels


def _bmp(
    bits: int,
    header: int,
    *,
    masks: tuple[int, int, int, int] | None = None,
    top_down: bool = False,
    indices: NDArray[np.int64] | None = None,
    palette: NDArray[np.uint8] | None = None,
    pack: Callable[[NDArray[np.int64], int], bytes] | None = None,
) -> bytes:
    """Return a file; `indices`, `palette` and `pack` are those of a file with a palette."""
    if bits <= 8:
        indices = _indices(bits) if indices is None else indices
        palette = _COLOURS[: 2**bits] if palette is None else palette
    rows = _rows(bits, masks) if indices is None else _packed_indices(indices, bits)
    if not top_down:
        rows = rows[::-1]
    pixels = b"".join(row.tobytes().ljust(-(-len(row) // 4) * 4, b"\0") for row in rows)
    if pack and indices is not None:
        pixels = _packed(indices[::-1], bits, pack)
    compression = {4: 2, 8: 1}[bits] if pack else 3 if masks else 0
    height = -HEIGHT if top_down else HEIGHT
    num_colours = 0 if palette is None else len(palette)
    info = _info(bits, header, masks, height, compression, len(pixels), num_colours)
    colours = b""
    if palette is not None:
        end = b"" if header == 12 else b"\0"
        colours = b"".join(colour[::-1].tobytes() + end for colour in palette)
    start = 14 + len(info) + len(colours)
    return struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start) + info + colours + pixels


def _info(
    bits: int,
    header: int,
    masks: tuple[int, int, int, int] | None,
    height: int,
    compression: int,
    num_bytes: int,
    num_colours: int,
) -> bytes:
    """Return the header that describes the pixels; its length is its version."""
    if header == 12:
        return struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, bits)
    resolution = 2835  # pixels per metre: 72 dpi
    numbers = (header, WIDTH, height, 1, bits, compression, num_bytes, resolution, resolution)
    info = struct.pack("<IiiHHIIiiII", *numbers, num_colours, 0)
    if header > 52:
        info += struct.pack("<4I", *(masks or (0, 0, 0, 0)))
    info = info.ljust(header, b"\0")
    if header == 40 and masks:
        info += struct.pack("<3I", *masks[:3])
    if header >= 108:
        # The colour space sRGB, as a little-endian number.
        info = info[:56] + b"BGRs" + info[60:]
    return info


def _indices(bits: int) -> NDArray[np.int64]:
    """Return the landscape as indices of a palette, (H, W)."""
    indices: NDArray[np.int64] = np.rint(LANDSCAPE.mean(-1) * (2**bits - 1)).astype(np.int64)
    return indices


def _packed_indices(indices: NDArray[np.int64], bits: int) -> NDArray[np.uint8]:
    set_bits = (indices[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(set_bits.reshape(HEIGHT, -1).astype(np.uint8), axis=1)


def _rows(bits: int, masks: tuple[int, ...] | None) -> NDArray[np.uint8]:
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
        return np.asarray(_COLOURS[_indices(bits)], np.float64)
    counts = [bin(mask).count("1") for mask in masks or (255, 255, 255, 0)]
    red, green, blue = (_levels(LANDSCAPE[..., n], counts[n]) for n in range(3))
    alpha = _levels(ALPHA, counts[3]) if counts[3] else np.ones_like(red)
    return (np.stack([red, green, blue], -1) * alpha[..., None] + 1 - alpha[..., None]) * 255


def _levels(values: NDArray[Any], bits: int) -> NDArray[np.float64]:
    return np.asarray(np.rint(values * (2**bits - 1)) / (2**bits - 1), np.float64)


def _packed(
    rows: NDArray[np.int64], bits: int, pack: Callable[[NDArray[np.int64], int], bytes]
) -> bytes:
    """Return rows as run lengths; rows of zeros at the end are left out."""
    num_rows = 1 + int(np.flatnonzero(rows.any(axis=1))[-1])
    return b"".join(pack(row, bits) + b"\0\0" for row in rows[:num_rows]) + b"\0\1"


def _runs(row: NDArray[np.int64], bits: int) -> bytes:
    """Return a row as pairs of a pixel count and a value."""
    # In 4 bits the byte has two pixels: times 17 repeats the value.
    factor = 17 if bits == 4 else 1
    return b"".join(bytes([count, value * factor]) for count, value in _lengths(row))


def _moves(row: NDArray[np.int64], bits: int) -> bytes:
    """Return a row as pairs, and moves to the right instead of runs of zeros."""
    if not row.any():
        return b""
    return b"".join(
        _runs(np.full(count, value), bits) if value else bytes([0, 2, count, 0])
        for count, value in _lengths(row)
    )


def _lists(row: NDArray[np.int64], bits: int) -> bytes:
    """Return a row as a list of all pixels, padded to an even number of bytes."""
    pixels = row if bits == 8 else np.append(row, 0).reshape(-1, 2) @ [16, 1]
    return bytes([0, len(row), *pixels.tolist()]) + bytes(len(pixels) % 2)


def _lengths(row: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    for value, run in itertools.groupby(row.tolist()):
        yield len(list(run)), value


_PACKERS = {"pairs": _runs, "moves": _moves, "lists": _lists}
