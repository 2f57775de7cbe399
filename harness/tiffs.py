"""TIFF files of every layout, written by hand, because most programs write few layouts."""

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.scenery import ALPHA, LANDSCAPE, PALETTE_COLOURS
from harness.tiff_compression import COMPRESSORS, DEFLATE, LZMA, LZW, NONE, PACKBITS

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB, CFA = 0, 1, 2, 3, 5, 6, 8, 32803
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
ASSOCIATED, UNASSOCIATED = 1, 2


@dataclass(frozen=True)
class TiffKind:
    """A layout, with TIFF's own numbers.

    Attributes:
        extras: the type of each band after the colours: 0 unspecified, 1 associated alpha, 2 alpha.
        tile: the side of a tile in pixels; 0 means strips.
        missing: numbers of strips or tiles that are not stored; readers return zeros.
    """

    photometric: int
    bits: int
    sample_format: int = UNSIGNED
    extras: tuple[int, ...] = ()
    is_planar: bool = False
    is_big_endian: bool = False
    compression: int = NONE
    predictor: int = 1
    tile: int = 0
    orientation: int = 1
    fill_order: int = 1
    is_bigtiff: bool = False
    missing: tuple[int, ...] = ()

    def __str__(self) -> str:
        fields = {key: value for key, value in vars(self).items() if value}
        return "TIFF " + " ".join(f"{key}={value}" for key, value in fields.items())


def tiff_kinds() -> Iterator[TiffKind]:
    """Yield all combinations of the common dimensions, then rarer layouts for some of them."""
    for kind in _sample_kinds():
        orders, tiles = (False, True), (0, 16)
        planes = (False, True) if kind.photometric in (RGB, CMYK) or kind.extras else (False,)
        for order, is_planar, tile in itertools.product(orders, planes, tiles):
            layout = replace(kind, is_big_endian=order, is_planar=is_planar, tile=tile)
            for compression, predictor in _compressions(kind):
                yield replace(layout, compression=compression, predictor=predictor)
        for compression, tile in itertools.product((PACKBITS, LZW, LZMA), tiles):
            yield replace(kind, compression=compression, tile=tile)
        yield from (replace(kind, orientation=orientation) for orientation in range(2, 9))
        yield from (replace(kind, is_bigtiff=True, is_big_endian=order) for order in orders)
        for is_planar, tile in itertools.product(planes, tiles):
            sparse = replace(kind, missing=(0, 2, 3, 7), is_planar=is_planar, tile=tile)
            yield from (replace(sparse, compression=scheme) for scheme in (NONE, DEFLATE, LZW))
        if kind.bits <= 8:
            yield replace(kind, fill_order=2)
            yield replace(kind, fill_order=2, compression=LZW)


def _sample_kinds() -> Iterator[TiffKind]:
    for photometric, depths in (
        (BLACK_IS_ZERO, (1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 32)),
        (WHITE_IS_ZERO, (1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 32)),
        (RGB, (1, 2, 4, 8, 12, 16, 32)),
        (PALETTE, (1, 2, 4, 8, 16)),
        (CMYK, (1, 4, 8, 12, 16)),
    ):
        yield from (TiffKind(photometric, bits) for bits in depths)
    for photometric, bits in itertools.product((BLACK_IS_ZERO, WHITE_IS_ZERO, RGB), (4, 8, 16)):
        for extras in ((0,), (1,), (2,), (2, 0), (0, 0, 0)):
            yield TiffKind(photometric, bits, extras=extras)
    yield from (TiffKind(PALETTE, 8, extras=(extra,)) for extra in (0, 2))
    for bits, extras in itertools.product((8, 16), ((0,), (1,), (2,))):
        yield TiffKind(CMYK, bits, extras=extras)
    for photometric in (BLACK_IS_ZERO, WHITE_IS_ZERO):
        yield from (TiffKind(photometric, bits, SIGNED) for bits in (8, 16, 32))
        yield from (TiffKind(photometric, bits, FLOAT) for bits in (16, 32, 64))
    yield from (TiffKind(RGB, bits, FLOAT) for bits in (16, 32))
    yield from (TiffKind(RGB, 16, SIGNED), TiffKind(LAB, 8))
    yield from (TiffKind(YCBCR, 8), TiffKind(YCBCR, 16), TiffKind(CFA, 16))


def _compressions(kind: TiffKind) -> Iterator[tuple[int, int]]:
    yield from ((NONE, 1), (DEFLATE, 1))
    if kind.bits in (8, 16, 32) and kind.photometric != PALETTE:
        yield DEFLATE, 2
    if kind.sample_format == FLOAT:
        yield DEFLATE, 3


def tiff_file(kind: TiffKind) -> bytes:
    """Return the landscape as a TIFF of that layout."""
    samples = _samples(kind)  # (H, W, bands)
    bands = samples.shape[-1]
    planes = np.split(samples, bands, axis=-1) if kind.is_planar else [samples]
    segments = [
        _pack(part, kind)
        for plane in planes
        for part in (_tiles(plane, kind.tile) if kind.tile else _strips(plane))
    ]
    stored = [b"" if n in kind.missing else segment for n, segment in enumerate(segments)]
    return _file(_tags(kind, samples), stored, kind)


def _samples(kind: TiffKind) -> NDArray[Any]:
    """Return the landscape's samples for a kind: (H, W, bands)."""
    alpha = ALPHA[..., None]
    colours = {
        WHITE_IS_ZERO: 1 - LANDSCAPE.mean(axis=-1, keepdims=True),
        RGB: LANDSCAPE,
        LAB: LANDSCAPE * 0.1 + [0.5, 0, 0],  # only colours that a screen can show
        YCBCR: LANDSCAPE,
        CMYK: np.concatenate([1 - LANDSCAPE, ALPHA[..., None] / 3], axis=-1),
    }.get(kind.photometric, LANDSCAPE.mean(axis=-1, keepdims=True))
    if kind.extras and kind.extras[0] == ASSOCIATED:
        white = kind.photometric == WHITE_IS_ZERO
        colours = 1 - (1 - colours) * alpha if white else colours * alpha
    values = np.concatenate([colours, *[alpha] * len(kind.extras)], axis=-1)
    if kind.sample_format == FLOAT:
        return values.astype(f"f{kind.bits // 8}")
    low = -(2 ** (kind.bits - 1)) if kind.sample_format == SIGNED else 0
    numbers: NDArray[Any] = np.rint(values * (2**kind.bits - 1) + low).astype(np.int64)
    return numbers


def _strips(plane: NDArray[Any]) -> list[NDArray[Any]]:
    return [plane[start : start + 16] for start in range(0, len(plane), 16)]


def _tiles(plane: NDArray[Any], side: int) -> list[NDArray[Any]]:
    height, width, _ = plane.shape
    padded = np.pad(plane, ((0, -height % side), (0, -width % side), (0, 0)), mode="edge")
    return [
        padded[y : y + side, x : x + side]
        for y in range(0, height, side)
        for x in range(0, width, side)
    ]


def _pack(part: NDArray[Any], kind: TiffKind) -> bytes:
    order = ">" if kind.is_big_endian else "<"
    rows = part.reshape(len(part), -1)
    if kind.sample_format == FLOAT and kind.predictor == 3:
        data = _float_differences(rows, part.shape[-1])
    elif kind.bits in (8, 16, 32, 64):
        letter = "f" if kind.sample_format == FLOAT else "u"
        numbers = part if letter == "f" else part.astype(f"u{kind.bits // 8}")
        if kind.predictor == 2:
            numbers = _differences(numbers)
        data = numbers.astype(f"{order}{numbers.dtype.kind}{kind.bits // 8}").tobytes()
    else:
        bits = (rows[..., None] >> np.arange(kind.bits - 1, -1, -1)) & 1
        data = np.packbits(bits.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()
    if kind.fill_order == 2 and kind.compression == NONE:
        data = _reverse_bits(data)
    packed = COMPRESSORS[kind.compression](data, len(data) // len(part))
    return _reverse_bits(packed) if kind.fill_order == 2 and kind.compression != NONE else packed


def _differences(values: NDArray[Any]) -> NDArray[Any]:
    # Predictor 2 subtracts bits as unsigned numbers, also those of floats, and wraps around.
    whole = values.view(f"u{values.dtype.itemsize}")
    return np.concatenate([whole[:, :1], np.diff(whole, axis=1)], axis=1)


def _float_differences(rows: NDArray[Any], stride: int) -> bytes:
    size = rows.dtype.itemsize
    # Predictor 3: first the highest bytes of all samples of a row, then the next ones.
    parts = rows.astype(f">f{size}").view(np.uint8).reshape(len(rows), -1, size)
    split = parts.swapaxes(1, 2).reshape(len(rows), -1)
    return np.concatenate([split[:, :stride], split[:, stride:] - split[:, :-stride]], 1).tobytes()


def _reverse_bits(data: bytes) -> bytes:
    return np.packbits(
        np.unpackbits(np.frombuffer(data, np.uint8)).reshape(-1, 8)[:, ::-1]
    ).tobytes()


def _tags(kind: TiffKind, samples: NDArray[Any]) -> dict[int, tuple[int, ...]]:
    height, width, bands = samples.shape
    tags = {
        256: (width,),
        257: (height,),
        258: (kind.bits,) * bands,
        259: (kind.compression,),
        262: (kind.photometric,),
        266: (kind.fill_order,),
        274: (kind.orientation,),
        277: (bands,),
        284: (2 if kind.is_planar else 1,),
        317: (kind.predictor,),
        339: (kind.sample_format,) * bands,
    }
    if kind.photometric == YCBCR:
        # No subsampling.
        tags[530] = (1, 1)
    if kind.extras:
        tags[338] = kind.extras
    if kind.photometric == PALETTE:
        tags[320] = tuple(PALETTE_COLOURS[: 2**kind.bits].T.ravel().tolist())
    return tags | ({322: (kind.tile,), 323: (kind.tile,)} if kind.tile else {278: (16,)})


# The tags whose values have 16 bits.
_SHORT = {258, 259, 262, 266, 274, 277, 284, 317, 320, 338, 339, 530}


def _file(tags: dict[int, tuple[int, ...]], segments: list[bytes], kind: TiffKind) -> bytes:
    order = ">" if kind.is_big_endian else "<"
    head = 16 if kind.is_bigtiff else 8
    offsets = itertools.accumulate([head, *(len(segment) for segment in segments[:-1])])
    tags = tags | {
        324 if kind.tile else 273: tuple(
            offset if segment else 0 for offset, segment in zip(offsets, segments, strict=True)
        ),
        325 if kind.tile else 279: tuple(len(segment) for segment in segments),
    }
    pixels = b"".join(segments)
    # A directory starts at an even offset.
    pixels += bytes(len(pixels) % 2)
    directory = _directory(tags, head + len(pixels), order, is_big=kind.is_bigtiff)
    mark = b"MM" if kind.is_big_endian else b"II"
    offset = head + len(pixels)
    if kind.is_bigtiff:
        return mark + struct.pack(f"{order}HHHQ", 43, 8, 0, offset) + pixels + directory
    return mark + struct.pack(f"{order}HI", 42, offset) + pixels + directory


def _directory(tags: dict[int, tuple[int, ...]], offset: int, order: str, *, is_big: bool) -> bytes:
    count, entry, inline = ("Q", "HHQ", 8) if is_big else ("H", "HHI", 4)
    pointer = "Q" if is_big else "I"
    entries, values = b"", b""
    size = struct.calcsize(f"<{entry}") + inline
    start = offset + struct.calcsize(f"<{count}") + size * len(tags) + inline
    for tag, numbers in sorted(tags.items()):
        letter, number = ("H", 3) if tag in _SHORT else ("I", 4)
        packed = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
        # Only values that do not fit into the entry are stored elsewhere.
        if len(packed) > inline:
            packed, values = struct.pack(order + pointer, start + len(values)), values + packed
        entries += struct.pack(order + entry, tag, number, len(numbers)) + packed.ljust(
            inline, b"\0"
        )
    return struct.pack(order + count, len(tags)) + entries + bytes(inline) + values
