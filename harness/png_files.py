"""PNG files of every colour type and depth, written by hand: interlaced, transparent, texts."""

import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.png_chunks import chunk, png
from harness.scenery import ALPHA, HEIGHT, LANDSCAPE, PALETTE_COLOURS, WIDTH

_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Bit depths of each colour type."""


def png_files() -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of a file of every kind."""
    for colour, depths in _DEPTHS.items():
        for depth, is_interlaced in itertools.product(depths, (False, True)):
            samples = _samples(colour, depth)
            for name, chunks in _extras(colour, depth, samples):
                data = _png(depth, colour, samples, *chunks, is_interlaced=is_interlaced)
                laced = "interlaced" if is_interlaced else "plain"
                yield f"PNG colour={colour} bits={depth} {laced} {name}", data


def _png(
    depth: int, colour: int, samples: NDArray[Any], *chunks: bytes, is_interlaced: bool = False
) -> bytes:
    """Return a PNG; samples are (H, W, bands)."""
    height, width, _ = samples.shape
    passes = _ADAM7 if is_interlaced else ((0, 0, 1, 1),)
    rows = b"".join(_rows(samples[y::dy, x::dx], depth) for x, y, dx, dy in passes)
    return png(width, height, depth, colour, rows, *chunks, is_interlaced=is_interlaced)


_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""Per pass: first column, first row, step in columns, step in rows."""


def _rows(samples: NDArray[Any], depth: int) -> bytes:
    # A pass of Adam7 may have no pixels, and then has no rows either.
    if samples.size == 0:
        return b""
    rows = samples.reshape(len(samples), -1)
    if depth == 16:
        packed = rows.astype(">u2").view(np.uint8).reshape(len(rows), -1)
    else:
        bits = (rows[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        packed = np.packbits(bits.reshape(len(rows), -1).astype(np.uint8), axis=1)
    # 0: the row is not filtered.
    return b"".join(b"\0" + row.tobytes() for row in packed)


def _samples(colour: int, depth: int) -> NDArray[Any]:
    grey, alpha = LANDSCAPE.mean(axis=-1, keepdims=True), ALPHA[..., None]
    values = {
        0: grey,
        2: LANDSCAPE,
        3: grey,
        4: np.concatenate([grey, alpha], -1),
        6: np.concatenate([LANDSCAPE, alpha], -1),
    }[colour]
    return np.asarray(np.rint(values * (2**depth - 1)), np.int64)


def _extras(
    colour: int, depth: int, samples: NDArray[Any]
) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    """Yield the chunks between header and pixels: none, transparency, metadata."""
    colours = PALETTE_COLOURS[: 2**depth] >> 8
    palette = (chunk(b"PLTE", colours.astype(np.uint8).tobytes()),) if colour == 3 else ()
    yield "", palette
    if colour in (0, 2):
        key = samples[HEIGHT // 2, WIDTH // 2]
        yield "tRNS", (chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)),)
        # A level that differs in its lowest bit only shows whether the decoder uses all bits.
        near = (key ^ 1) if depth > 1 else key
        yield "tRNS near", (chunk(b"tRNS", struct.pack(f">{len(near)}H", *near)),)
    if colour == 3:
        alphas = bytes(int(255 * level / 2**depth) for level in range(2**depth))
        yield "tRNS", (*palette, chunk(b"tRNS", alphas))
        yield "tRNS short", (*palette, chunk(b"tRNS", alphas[:1]))
    # Longer than the text that Pillow accepts; only the pixels may decide.
    text = b"Comment\0\0" + zlib.compress(b"a" * 2_000_000)
    yield "long text", (chunk(b"zTXt", text), *palette)
    yield "bad checksum", (chunk(b"tEXt", b"Comment\0text")[:-1] + b"!", *palette)
