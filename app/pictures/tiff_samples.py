"""Reads the samples of a TIFF page: Pillow decompresses them, this module unpacks them."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.errors import InvalidImage
from app.pictures.tiff_layout import Layout

_KINDS = {1: "u", 2: "i", 3: "f"}
_FLOATING_POINT_PREDICTOR = 3
_SAMPLES_AT_ONCE = 2**22


def read_samples(data: bytes, layout: Layout, num_bands: int) -> NDArray[Any]:
    """Return the samples of a page, (H, W, bands); of separate planes only the first `num_bands`.

    Raises:
        InvalidImage: strips or tiles are missing.
        ValueError: the data of strips or tiles are damaged or cut short.
    """
    if not layout.is_planar:
        return _read_plane(data, layout, 0, layout.bands)
    planes = [_read_plane(data, layout, plane, 1) for plane in range(num_bands)]
    return np.concatenate(planes, axis=-1)


def _read_plane(data: bytes, layout: Layout, plane: int, bands: int) -> NDArray[Any]:
    rows = _decompressed(data, layout, plane, bands)
    if layout.predictor == _FLOATING_POINT_PREDICTOR:
        values = _unpredicted_floats(rows, layout)
    else:
        values = _unpacked(rows, layout, bands)
        if layout.predictor == 2:
            values = values if values.flags.writeable else values.copy()
            _undo_differences(values, layout.segment[0])
    return values[:, : layout.width]


def _decompressed(data: bytes, layout: Layout, plane: int, bands: int) -> NDArray[np.uint8]:
    """Return the bytes of each row, (H, bytes), as in a file without compression."""
    columns, rows = layout.segment
    row_bytes = -(-layout.stored_width * bands * layout.bits // 8)
    per_row = -(-layout.width // columns) if columns else 1
    count = per_row * -(-layout.height // rows)
    offsets = layout.offsets[plane * count : (plane + 1) * count]
    sizes = layout.sizes[plane * count : (plane + 1) * count]
    is_misplaced = any(size and not offset for offset, size in zip(offsets, sizes, strict=False))
    if len(offsets) < count or is_misplaced:
        raise InvalidImage("the picture's strips or tiles are missing")
    if layout.compression == 1:  # compute the sizes, because those in the file may be wrong
        sizes = _plain_sizes(layout, row_bytes // per_row, count)
    segments = _Segments(layout, row_bytes // per_row, offsets, sizes)
    if 0 in offsets:
        return _with_zeros(data, segments, (layout.height, row_bytes))
    return _read_segments(data, segments, (layout.height, row_bytes))


@dataclass(frozen=True)
class _Segments:
    """The strips or tiles of a plane, row by row.

    Attributes:
        width: of a strip or tile, in bytes.
    """

    layout: Layout
    width: int
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]

    def select(self, numbers: Sequence[int]) -> "_Segments":
        """Return only some of the strips or tiles."""
        offsets = tuple(self.offsets[number] for number in numbers)
        sizes = tuple(self.sizes[number] for number in numbers)
        return replace(self, offsets=offsets, sizes=sizes)


def _with_zeros(data: bytes, segments: _Segments, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the bytes of each row; strips or tiles that are not stored are 0."""
    result = np.zeros(shape, np.uint8)
    stored = [number for number, offset in enumerate(segments.offsets) if offset]
    if not stored:
        return result
    # Read the stored ones as a picture in which each is below the previous one.
    rows, last = segments.layout.segment[1], _part(result, segments, stored[-1])
    size = rows * (len(stored) - 1) + len(last), segments.width
    column = _read_segments(data, segments.select(stored), size)
    for index, number in enumerate(stored):
        part = _part(result, segments, number)
        part[:] = column[index * rows : index * rows + len(part)]
    return result


def _part(rows: NDArray[np.uint8], segments: _Segments, number: int) -> NDArray[np.uint8]:
    """Return the view of a strip or tile in the rows of a picture."""
    row, column = divmod(number, rows.shape[1] // segments.width)
    top, left = row * segments.layout.segment[1], column * segments.width
    return rows[top : top + segments.layout.segment[1], left : left + segments.width]


def _read_segments(data: bytes, segments: _Segments, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Decompress strips or tiles to rows of bytes.

    Pillow reads them through a new directory that declares each byte to be a grey pixel.
    """
    layout = segments.layout
    tags: dict[int, tuple[int, ...]] = {
        256: (shape[1],),
        257: (shape[0],),
        258: (8,),
        259: (layout.compression,),
    }
    tags |= {262: (1,), 266: (layout.fill_order,), 277: (1,)}
    columns, rows = layout.segment
    if columns:
        tags |= {322: (segments.width,), 323: (rows,)}
        tags |= {324: segments.offsets, 325: segments.sizes}
    else:
        tags |= {278: (rows,), 273: segments.offsets, 279: segments.sizes}
    return _read_bytes(data, tags)


def _plain_sizes(layout: Layout, segment_bytes: int, count: int) -> tuple[int, ...]:
    columns, rows = layout.segment
    last = rows if columns else layout.height - (count - 1) * rows
    return (segment_bytes * rows,) * (count - 1) + (segment_bytes * last,)


def _read_bytes(data: bytes, tags: dict[int, tuple[int, ...]]) -> NDArray[np.uint8]:
    offset = len(data) + len(data) % 2
    header = b"II*\0" + struct.pack("<I", offset)
    file = b"".join([header, data[8:], bytes(offset - len(data)), _directory(tags, offset)])
    # `Image.open` would count bytes as pixels and reject large pictures.
    size = tags[256][0], tags[257][0]
    return np.asarray(Image.frombytes("L", size, file, "libtiff", "L", False, offset))


def _directory(tags: dict[int, tuple[int, ...]], offset: int) -> bytes:
    """Return a directory of 32-bit numbers for an offset in a little-endian file."""
    entries, values = b"", b""
    values_offset = offset + 2 + 12 * len(tags) + 4
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            packed, values = struct.pack("<I", values_offset + len(values)), values + packed
        entries += struct.pack("<HHI", tag, 4, len(numbers)) + packed
    return struct.pack("<H", len(tags)) + entries + bytes(4) + values


def _unpacked(rows: NDArray[np.uint8], layout: Layout, bands: int) -> NDArray[Any]:
    """Unpack the numbers in each row: (H, bytes) to (H, W, bands)."""
    shape = len(rows), layout.stored_width, bands
    if layout.bits in (8, 16, 32, 64):
        order = ">" if layout.is_big_endian else "<"
        kind = np.dtype(f"{order}{_KINDS[layout.sample_format]}{layout.bits // 8}")
        return rows.view(kind).reshape(shape).astype(kind.newbyteorder("="), copy=False)
    values = np.empty((len(rows), layout.stored_width * bands), np.uint16)
    step = max(1, _SAMPLES_AT_ONCE // values.shape[1])
    for start in range(0, len(rows), step):
        values[start : start + step] = _unpacked_bits(
            rows[start : start + step], layout.bits, values.shape[1]
        )
    return values.reshape(shape)


def _unpacked_bits(rows: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint16]:
    """Unpack numbers of any other width, highest bit first."""
    all_bits = np.unpackbits(rows, axis=1, count=count * bits).reshape(len(rows), count, bits)
    values = np.zeros((len(rows), count), np.uint16)
    for bit in range(bits):
        values <<= 1
        values |= all_bits[..., bit]
    return values


def _undo_differences(values: NDArray[Any], columns: int) -> None:
    """Undo the predictor in place, (H, W, bands); each tile starts again."""
    width = values.shape[1]
    # Add the bit patterns as integers, because floats are stored as differences of them, too.
    whole = values.view(f"u{values.dtype.itemsize}")
    for start in range(0, width, columns or width):
        part = whole[:, start : start + (columns or width)]
        np.cumsum(part, axis=1, dtype=part.dtype, out=part)


def _unpredicted_floats(rows: NDArray[np.uint8], layout: Layout) -> NDArray[Any]:
    """Return floats of one band, (H, W, 1), stored as all first bytes, then all second bytes."""
    size = layout.bits // 8
    columns = layout.segment[0] or layout.width
    parts = rows.reshape(len(rows), -1, columns * size)  # (H, tiles of a row, bytes)
    summed = np.cumsum(parts, axis=2, dtype=np.uint8).reshape(*parts.shape[:2], size, columns)
    ordered = np.ascontiguousarray(summed.swapaxes(2, 3))
    kind = np.dtype(f">f{size}")
    return ordered.view(kind).reshape(len(rows), -1, 1).astype(kind.newbyteorder("="))
