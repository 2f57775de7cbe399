"""Reads the samples of a TIFF page: Pillow decompresses them, this module unpacks them."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from app.errors import InvalidImage

LOSSLESS = frozenset({1, 5, 8, 32773, 32946, 34925, 50000})
"""No compression, LZW, deflate, PackBits, old deflate, LZMA and Zstandard return exact samples."""

WEBP = frozenset({34927, 50001})
"""The numbers of WebP. Pillow knows one of them, but its libtiff has no decoder for it."""

_OTHER_COMPRESSIONS = {2: "fax", 3: "fax", 4: "fax", 6: "old JPEG", 7: "JPEG"}
_OTHER_COMPRESSIONS |= dict.fromkeys(WEBP, "WebP")
_PHOTOMETRICS = {
    0: "grey",
    1: "grey",
    2: "RGB",
    3: "palette",
    4: "transparency mask",
    5: "separated inks",
    6: "YCbCr",
    8: "Lab",
    9: "ICC Lab",
    10: "ITU Lab",
    32844: "LogL",
    32845: "LogLuv",
}
_KINDS = {1: "u", 2: "i", 3: "f"}
_KINDS_IN_WORDS = {
    1: "",
    2: " signed",
    3: " as floats",
    4: " of undefined type",
    5: " complex",
    6: " complex",
}
_FLOATING_POINT_PREDICTOR = 3
_SAMPLES_AT_ONCE = 2**22


@dataclass(frozen=True)
class Layout:
    """How a page stores its samples.

    Attributes:
        width, height: in pixels, as stored.
        bands: samples per pixel.
        bits: per sample; 0 if the bands differ.
        sample_format: 1 unsigned, 2 signed, 3 floats; others are not read.
        photometric: the meaning of the bands, as a TIFF number.
        is_planar: whether each band is stored separately.
        compression: as a TIFF number.
        predictor: 1 none, 2 differences, 3 differences of the bytes of floats.
        fill_order: 2 if the bits of each byte are reversed.
        is_big_endian: the byte order of samples.
        segment: columns and rows of a tile; for strips, 0 and the rows of a strip.
        offsets: of the strips or tiles in the file, row by row, plane after plane.
        sizes: of the same strips or tiles, in bytes.
    """

    width: int
    height: int
    bands: int
    bits: int
    sample_format: int
    photometric: int
    is_planar: bool
    compression: int
    predictor: int
    fill_order: int
    is_big_endian: bool
    segment: tuple[int, int]
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, tags: ImageFileDirectory_v2) -> "Layout":
        """Read the tags of a page.

        Raises:
            InvalidImage: tags are missing, or have values that no page can have.
        """
        width, height, bands = _one(tags, 256, 0), _one(tags, 257, 0), _one(tags, 277, 1)
        if width < 1 or height < 1 or bands < 1:
            raise InvalidImage("the picture has no pixels")
        is_tiled = 324 in tags
        tile_rows, strip_rows = _one(tags, 323, 1), min(_one(tags, 278, height), height)
        return cls(
            width=width,
            height=height,
            bands=bands,
            bits=_same_for_all(tags, 258, 1),
            sample_format=_same_for_all(tags, 339, 1),
            photometric=_one(tags, 262, 0),
            is_planar=bands > 1 and _one(tags, 284, 1) == 2,
            compression=_one(tags, 259, 1),
            predictor=_one(tags, 317, 1),
            fill_order=_one(tags, 266, 1),
            is_big_endian=tags.prefix == b"MM",
            segment=(_one(tags, 322, 1), tile_rows) if is_tiled else (0, max(1, strip_rows)),
            offsets=_all(tags, 324 if is_tiled else 273),
            sizes=_all(tags, 325 if is_tiled else 279),
        )

    @property
    def is_sparse(self) -> bool:
        """Whether strips or tiles are not stored, because all of their samples are 0."""
        return (0, 0) in zip(self.offsets, self.sizes, strict=False)

    @property
    def stored_width(self) -> int:
        """The width of stored rows: tiles extend beyond the picture's right edge."""
        columns = self.segment[0]
        return -(-self.width // columns) * columns if columns else self.width

    def in_words(self) -> str:
        """Return the details that distinguish this layout, for error messages."""
        meaning = _PHOTOMETRICS.get(
            self.photometric, f"photometric interpretation {self.photometric}"
        )
        depth = f"{self.bits} bits" if self.bits else "mixed bits"
        numbers = _KINDS_IN_WORDS.get(self.sample_format, " of an unknown type")
        bands = "1 band" if self.bands == 1 else f"{self.bands} bands"
        default = "" if self.compression in LOSSLESS else f"scheme {self.compression}"
        compression = _OTHER_COMPRESSIONS.get(self.compression, default)
        ending = f", compressed by {compression}" if compression else ""
        predictor = f", predictor {self.predictor}" if self.predictor > 1 else ""
        return f"{bands} of {depth}{numbers} ({meaning}{ending}{predictor})"


def _one(tags: ImageFileDirectory_v2, tag: int, default: int) -> int:
    value = tags.get(tag, default)
    value = value[0] if isinstance(value, tuple) and value else value
    if not isinstance(value, int):
        raise InvalidImage(f"the picture's tag {tag} is damaged")
    return value


def _all(tags: ImageFileDirectory_v2, tag: int) -> tuple[int, ...]:
    values = tags.get(tag, ())
    return values if isinstance(values, tuple) else (values,)


def _same_for_all(tags: ImageFileDirectory_v2, tag: int, default: int) -> int:
    """Return the value of a tag if it is equal for all bands, 0 if the bands differ."""
    values = set(_all(tags, tag)) or {default}
    return int(values.pop()) if len(values) == 1 else 0


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
    for place, number in enumerate(stored):
        part = _part(result, segments, number)
        part[:] = column[place * rows : place * rows + len(part)]
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
    place = len(data) + len(data) % 2
    header = b"II*\0" + struct.pack("<I", place)
    file = b"".join([header, data[8:], bytes(place - len(data)), _directory(tags, place)])
    # `Image.open` would count bytes as pixels and reject large pictures.
    size = tags[256][0], tags[257][0]
    return np.asarray(Image.frombytes("L", size, file, "libtiff", "L", False, place))


def _directory(tags: dict[int, tuple[int, ...]], place: int) -> bytes:
    """Return a directory of 32-bit numbers for an offset in a little-endian file."""
    entries, values = b"", b""
    values_place = place + 2 + 12 * len(tags) + 4
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            packed, values = struct.pack("<I", values_place + len(values)), values + packed
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
