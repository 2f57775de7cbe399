"""One landscape as a file of every kind of every accepted format."""

import io
import itertools
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.scenery import ALPHA, HEIGHT, LANDSCAPE, PALETTE_COLOURS, WIDTH
from harness.tiffs import tiff_file, tiff_kinds


@dataclass(frozen=True)
class PictureFile:
    """A file and the facts that its generator knows.

    Attributes:
        name: of its kind; unique.
        orientation: as in EXIF, 1…8.
        is_lossy: whether decoders may differ by more than rounding.
        expected: the drawn pixels, (H, W, 3) of 0…255, if no independent reader supports the file.
    """

    name: str
    data: bytes
    orientation: int = 1
    is_lossy: bool = False
    expected: NDArray[np.float64] | None = None

    @property
    def format(self) -> str:
        """The format: the first word of the name."""
        return self.name.split()[0]


def tiff_pictures(step: int = 1) -> Iterator[PictureFile]:
    """Yield a TIFF of every `step`-th layout; there are thousands of layouts."""
    for kind in itertools.islice(tiff_kinds(), 0, None, step):
        yield PictureFile(str(kind), tiff_file(kind), kind.orientation)


def other_pictures() -> Iterator[PictureFile]:
    """Yield all other files, which are hundreds."""
    yield from _other_tiffs()
    yield from _pngs()
    yield from _bmps()
    yield from _jpegs()
    yield from _gifs()
    yield from _webps()
    yield from _avifs()


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(values * 255), np.uint8)


_RGB = Image.fromarray(_eight_bits(LANDSCAPE))
_GREY = _RGB.convert("L")
_RGBA = Image.fromarray(_eight_bits(np.concatenate([LANDSCAPE, ALPHA[..., None]], -1)))
_CMYK = Image.fromarray(
    _eight_bits(np.concatenate([1 - LANDSCAPE, ALPHA[..., None] / 3], -1)), "CMYK"
)


def _encode(image: Image.Image, image_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def _exif_with_orientation(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


def _other_tiffs() -> Iterator[PictureFile]:
    """Yield fax and JPEG, which libtiff writes and `harness.tiffs` does not."""
    for compression in ("group3", "group4", "tiff_ccitt"):
        data = _encode(_GREY.convert("1"), "TIFF", compression=compression)
        yield PictureFile(f"TIFF fax {compression}", data)
    for mode, image in (("L", _GREY), ("RGB", _RGB), ("CMYK", _CMYK), ("YCbCr", None)):
        pixels = image or _RGB.convert("YCbCr")
        data = _encode(pixels, "TIFF", compression="jpeg", quality=95)
        yield PictureFile(f"TIFF JPEG {mode}", data, is_lossy=True)


def _png(
    depth: int, colour: int, samples: NDArray[Any], *chunks: bytes, interlaced: bool = False
) -> bytes:
    """Return a PNG built by hand; samples are (H, W, bands)."""
    height, width, _ = samples.shape
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = b"".join(_png_rows(samples[y::dy, x::dx], depth) for x, y, dx, dy in passes)
    parts = [_chunk(b"IHDR", header), *chunks, _chunk(b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, _chunk(b"IEND", b"")])


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


def _png_rows(samples: NDArray[Any], depth: int) -> bytes:
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


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


_PNG_KINDS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Bit depths of each colour type."""


def _pngs() -> Iterator[PictureFile]:
    for colour, depths in _PNG_KINDS.items():
        for depth, interlaced in itertools.product(depths, (False, True)):
            samples = _png_samples(colour, depth)
            for name, chunks in _png_extras(colour, depth, samples):
                data = _png(depth, colour, samples, *chunks, interlaced=interlaced)
                laced = "interlaced" if interlaced else "plain"
                yield PictureFile(f"PNG colour={colour} bits={depth} {laced} {name}", data)
    for number in range(2, 9):
        data = _encode(_RGB, "PNG", exif=_exif_with_orientation(number))
        yield PictureFile(f"PNG orientation={number}", data, number)
    frames = {"save_all": True, "append_images": [_RGB.rotate(180)]}
    yield PictureFile("PNG animated", _encode(_RGB, "PNG", **frames))


def _png_samples(colour: int, depth: int) -> NDArray[Any]:
    grey, alpha = LANDSCAPE.mean(axis=-1, keepdims=True), ALPHA[..., None]
    values = {
        0: grey,
        2: LANDSCAPE,
        3: grey,
        4: np.concatenate([grey, alpha], -1),
        6: np.concatenate([LANDSCAPE, alpha], -1),
    }[colour]
    return np.asarray(np.rint(values * (2**depth - 1)), np.int64)


def _png_extras(
    colour: int, depth: int, samples: NDArray[Any]
) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    """Yield the chunks between header and pixels: none, transparency, metadata."""
    colours = PALETTE_COLOURS[: 2**depth] >> 8
    palette = (_chunk(b"PLTE", colours.astype(np.uint8).tobytes()),) if colour == 3 else ()
    yield "", palette
    if colour in (0, 2):
        key = samples[HEIGHT // 2, WIDTH // 2]
        yield "tRNS", (_chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)),)
        # A level that differs in its lowest bit only shows whether the decoder uses all bits.
        near = (key ^ 1) if depth > 1 else key
        yield "tRNS near", (_chunk(b"tRNS", struct.pack(f">{len(near)}H", *near)),)
    if colour == 3:
        alphas = bytes(int(255 * level / 2**depth) for level in range(2**depth))
        yield "tRNS", (*palette, _chunk(b"tRNS", alphas))
        yield "tRNS short", (*palette, _chunk(b"tRNS", alphas[:1]))
    # Longer than the text that Pillow accepts; only the pixels may decide.
    text = b"Comment\0\0" + zlib.compress(b"a" * 2_000_000)
    yield "long text", (_chunk(b"zTXt", text), *palette)
    yield "bad checksum", (_chunk(b"tEXt", b"Comment\0text")[:-1] + b"!", *palette)


_BMP_MASKS = {
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


def _bmps() -> Iterator[PictureFile]:
    for bits, header, top_down in itertools.product(
        (1, 2, 4, 8, 16, 24, 32), (12, 40, 64, 108, 124), (False, True)
    ):
        # The header of 12 bytes has no negative height and only these depths.
        if header != 12 or (bits in (1, 4, 8, 24) and not top_down):
            direction = "top-down" if top_down else "bottom-up"
            data = _bmp(bits, header, top_down=top_down)
            pixels = _bmp_pixels(bits, None) if header == 12 else None
            yield PictureFile(f"BMP bits={bits} header={header} {direction}", data, expected=pixels)
    for name, (bits, masks) in _BMP_MASKS.items():
        for header in (40, 56, 108, 124):
            # The header of 40 bytes has no mask for alpha.
            if header > 40 or not masks[3]:
                data = _bmp(bits, header, masks=masks)
                pixels = _bmp_pixels(bits, masks)
                yield PictureFile(f"BMP masks={name} header={header}", data, expected=pixels)
    for bits in (4, 8):
        data, pixels = _bmp(bits, 40, is_packed=True), _bmp_pixels(bits, None)
        yield PictureFile(f"BMP run lengths bits={bits}", data, expected=pixels)


def _bmp(
    bits: int,
    header: int,
    *,
    masks: tuple[int, int, int, int] | None = None,
    top_down: bool = False,
    is_packed: bool = False,
) -> bytes:
    rows = _bmp_rows(bits, masks)
    if not top_down:
        rows = rows[::-1]
    if is_packed:
        pixels = b"".join(_bmp_runs(row, bits) for row in rows) + b"\0\1"
    else:
        pixels = b"".join(row.tobytes().ljust(-(-len(row) // 4) * 4, b"\0") for row in rows)
    compression = {4: 2, 8: 1}[bits] if is_packed else 3 if masks else 0
    height = -HEIGHT if top_down else HEIGHT
    if header == 12:
        info = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, bits)
    else:
        fields = struct.pack(
            "<IiiHHIIiiII",
            header,
            WIDTH,
            height,
            1,
            bits,
            compression,
            len(pixels),
            2835,  # pixels per metre: 72 dpi
            2835,
            2**bits if bits <= 8 else 0,
            0,
        )
        info = fields + struct.pack("<4I", *(masks or (0, 0, 0, 0))) if header > 52 else fields
        info = info.ljust(header, b"\0")
        if header == 40 and masks:
            info += struct.pack("<3I", *masks[:3])
        if header >= 108:
            # The colour space sRGB, as a little-endian number.
            info = info[:56] + b"BGRs" + info[60:]
    palette = b""
    if bits <= 8:
        colours = (PALETTE_COLOURS[: 2**bits] >> 8).astype(np.uint8)[:, ::-1]
        palette = b"".join(c.tobytes() + (b"" if header == 12 else b"\0") for c in colours)
    start = 14 + len(info) + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start) + info + palette + pixels


def _bmp_rows(bits: int, masks: tuple[int, ...] | None) -> NDArray[np.uint8]:
    if bits <= 8:
        levels = np.rint(LANDSCAPE.mean(-1) * (2**bits - 1)).astype(np.int64)
        set_bits = (levels[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        return np.packbits(set_bits.reshape(HEIGHT, -1).astype(np.uint8), axis=1)
    if bits == 24:
        return _eight_bits(LANDSCAPE)[..., ::-1].reshape(HEIGHT, -1)
    default = (0x7C00, 0x3E0, 0x1F, 0) if bits == 16 else (0xFF0000, 0xFF00, 0xFF, 0)
    words = np.zeros((HEIGHT, WIDTH), np.uint64)
    bands = np.concatenate([LANDSCAPE, ALPHA[..., None]], -1)
    for band, mask in enumerate(masks or default):
        if mask:
            # The lowest bit of the mask.
            low = (mask & -mask).bit_length() - 1
            words |= np.rint(bands[..., band] * (mask >> low)).astype(np.uint64) << np.uint64(low)
    return words.astype(f"<u{bits // 8}").view(np.uint8).reshape(HEIGHT, -1)


def _bmp_pixels(bits: int, masks: tuple[int, ...] | None) -> NDArray[np.float64]:
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


def _bmp_runs(row: NDArray[np.uint8], bits: int) -> bytes:
    """Return a row as run lengths: pairs of a pixel count and a value."""
    pixels = row if bits == 8 else np.stack([row >> 4, row & 15], -1).ravel()[:WIDTH]
    runs = ((len(list(run)), value) for value, run in itertools.groupby(pixels.tolist()))
    # In 4 bits the byte has two pixels: times 17 repeats the value.
    pairs = (bytes([count, value * 17 if bits == 4 else value]) for count, value in runs)
    return b"".join(pairs) + b"\0\0"


def _jpegs() -> Iterator[PictureFile]:
    for mode, image in (("L", _GREY), ("RGB", _RGB), ("CMYK", _CMYK)):
        for progressive, subsampling in itertools.product((False, True), (0, 1, 2)):
            options = {"progressive": progressive, "quality": 95, "subsampling": subsampling}
            name = f"JPEG {mode} progressive={progressive} subsampling={subsampling}"
            data = _encode(image, "JPEG", **options)
            yield PictureFile(name, data, is_lossy=True)
            yield PictureFile(f"{name} without its end", data[:-2], is_lossy=True)
            yield PictureFile(f"{name} without its last byte", data[:-1], is_lossy=True)
    data = _encode(_RGB, "JPEG", quality=95, keep_rgb=True)
    yield PictureFile("JPEG RGB kept", data, is_lossy=True)
    for number in range(2, 9):
        data = _encode(_RGB, "JPEG", quality=95, exif=_exif_with_orientation(number))
        yield PictureFile(f"JPEG orientation={number}", data, number, is_lossy=True)
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = _encode(_RGB, "JPEG", quality=95, xmp=xmp)
    yield PictureFile("JPEG orientation in XMP alone", data, is_lossy=True)


def _gifs() -> Iterator[PictureFile]:
    indexed = _RGB.quantize(64)
    kinds: dict[str, dict[str, Any]] = {
        "plain": {},
        "plain, not interlaced": {"interlace": 0},
        "transparent": {"transparency": 5},
        "animated": {"save_all": True, "append_images": [_GREY]},
    }
    for name, options in kinds.items():
        yield PictureFile(f"GIF {name}", _encode(indexed, "GIF", **options))
    yield PictureFile("GIF grey", _encode(_GREY, "GIF"))


def _webps() -> Iterator[PictureFile]:
    for name, image in (("RGB", _RGB), ("RGBA", _RGBA), ("L", _GREY)):
        # `exact` keeps the colours below transparent pixels.
        data = _encode(image, "WEBP", lossless=True, exact=True)
        yield PictureFile(f"WebP {name} lossless", data)
        yield PictureFile(f"WebP {name} lossy", _encode(image, "WEBP", quality=95), is_lossy=True)
    for number in range(2, 9):
        data = _encode(_RGB, "WEBP", lossless=True, exif=_exif_with_orientation(number))
        yield PictureFile(f"WebP orientation={number}", data, number)
    frames = {"save_all": True, "append_images": [_GREY], "lossless": True}
    yield PictureFile("WebP animated", _encode(_RGB, "WEBP", **frames))


def _avifs() -> Iterator[PictureFile]:
    for name, image in (("RGB", _RGB), ("RGBA", _RGBA), ("L", _GREY)):
        for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
            data = _encode(image, "AVIF", quality=95, subsampling=subsampling, speed=8)
            yield PictureFile(f"AVIF {name} {subsampling}", data, is_lossy=True)
    data = _encode(_RGBA, "AVIF", quality=95, alpha_premultiplied=True, speed=8)
    yield PictureFile("AVIF premultiplied", data, is_lossy=True)
    for number in range(2, 9):
        data = _encode(_RGB, "AVIF", quality=95, exif=_exif_with_orientation(number), speed=8)
        yield PictureFile(f"AVIF orientation={number}", data, number, is_lossy=True)
