"""Reads TIFF files: selects the page with the picture and converts its samples to colours.

Pillow decompresses the data. For the lossless compressions, this module interprets the samples
(bits, byte order, planes, white, alpha). Pillow reads JPEG, fax and YCbCr, which it does correctly.
The reasons are in `docs/adr/0030-tiff-samples.md`.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import PREFIXES, ImageFileDirectory_v2, TiffImageFile

from app.errors import InvalidImage, UnsupportedImageFormat
from app.pictures.eight_bits import grey_of_numbers, scaled_to_eight_bits
from app.pictures.tiff_layout import LOSSLESS, WEBP, Layout
from app.pictures.tiff_samples import read_samples

_REDUCED_COPY = 1
_MAX_PAGES = 64
_RAW_PHOTOMETRICS = {32803: "CFA", 34892: "linear raw"}
_RAW_COMPRESSIONS = {32767: "ARW", 34713: "NEF", 65000: "DCR", 65535: "PEF"}
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4}
"""Colour bands per photometric interpretation that this module reads."""
_UNCOMPRESSED = 1
_WHITE_IS_ZERO, _RGB, _PALETTE, _SEPARATED, _YCBCR = 0, 2, 3, 5, 6
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_ASSOCIATED, _UNASSOCIATED, _CORELS_ALPHA = 1, 2, 999
_MOST_EXTRAS = {1: 1, 3: 3, 4: 2}


def is_tiff(data: bytes) -> bool:
    """Return whether a file starts as TIFF or BigTIFF."""
    return data.startswith(tuple(PREFIXES))


@dataclass(frozen=True)
class TiffPage:
    """The page of a file that has its picture.

    Attributes:
        number: 0 for the first page.
    """

    number: int
    tags: ImageFileDirectory_v2
    layout: Layout

    @property
    def orientation(self) -> Any:
        """The orientation tag: 1…8 or an invalid value."""
        return self.tags.get(274, 1)


def find_page(data: bytes) -> TiffPage:
    """Return the first page that is not a reduced copy of another.

    Raises:
        UnsupportedImageFormat: the file is a camera raw file or has reduced copies only.
        InvalidImage: a required tag of the page is missing.
    """
    for number, tags in enumerate(_pages(data)):
        _refuse_camera_raw(data, tags)
        if not _is_reduced(tags):
            return TiffPage(number, tags, Layout.of(tags))
    raise UnsupportedImageFormat(
        "a TIFF whose only page is a thumbnail, as in camera raw files, is not accepted"
    )


def _pages(data: bytes) -> Iterator[ImageFileDirectory_v2]:
    offset = _directory(data).next
    seen: set[int] = set()
    while offset and offset not in seen and len(seen) < _MAX_PAGES:
        seen.add(offset)
        tags = _directory(data)
        file = io.BytesIO(data)
        file.seek(offset)
        tags.load(file)
        yield tags
        offset = tags.next


def _directory(data: bytes) -> ImageFileDirectory_v2:
    """Return an empty directory in the file's byte order."""
    # Pillow alone misreads BigTIFF in big-endian order.
    is_big = 43 in data[2:4]
    magic = b"II+\0" if is_big else b"II*\0"
    return ImageFileDirectory_v2(magic + data[4 : 16 if is_big else 8], prefix=data[:2])


def _is_reduced(tags: ImageFileDirectory_v2) -> bool:
    return bool(_integer(tags, 254, 0) & _REDUCED_COPY)


def _refuse_camera_raw(data: bytes, tags: ImageFileDirectory_v2) -> None:
    compression, photometric = _integer(tags, 259, 1), _integer(tags, 262, 0)
    if 50706 in tags or photometric in _RAW_PHOTOMETRICS:
        name = "DNG"
    elif data[8:10] == b"CR":
        name = "CR2"
    elif compression in _RAW_COMPRESSIONS:
        name = _RAW_COMPRESSIONS[compression]
    elif _is_reduced(tags) and 330 in tags:
        name = "NEF or similar"
    else:
        return
    raise UnsupportedImageFormat(
        f"camera raw ({name}) is not accepted; send the JPEG that the camera or a raw converter "
        "makes of it"
    )


def _integer(tags: ImageFileDirectory_v2, tag: int, default: int) -> int:
    value = tags.get(tag, default)
    return value if isinstance(value, int) else default


def read_page(data: bytes, page: TiffPage) -> Image.Image:
    """Decode a page without rotating it.

    Returns:
        RGB, RGBA, CMYK or L, 8 bits per band. If Pillow read the page (`TiffImageFile`), any of its
        modes, already rotated.

    Raises:
        UnsupportedImageFormat: this kind of TIFF is not accepted.
        ValueError, OSError: the data are damaged.
    """
    layout = page.layout
    if layout.compression not in LOSSLESS or layout.photometric not in _COLOURS:
        return _read_by_pillow(data, page)
    extras = _extras(page)
    if not _is_readable(layout, extras) or page.tags.get(332, 1) != 1:
        raise _unsupported(layout)
    # Further extra bands after the first are ignored.
    num_bands = _COLOURS[layout.photometric] + len(extras[:1])
    samples = read_samples(data, layout, num_bands)  # (H, W, bands)
    return _picture(samples, page, extras)


def _extras(page: TiffPage) -> tuple[int, ...]:
    """Return the types of the bands after the colours; -1 if the tag contradicts their number."""
    layout = page.layout
    extras = tuple(np.ravel(page.tags.get(338, ())).tolist())
    num_extras = layout.bands - _COLOURS[layout.photometric]
    # An RGB file of 4 bands that does not declare the fourth has alpha in practice.
    if not extras and num_extras == 1 and layout.photometric == _RGB:
        return (_UNASSOCIATED,)
    return extras if len(extras) == num_extras else (-1,)


def _is_readable(layout: Layout, extras: tuple[int, ...]) -> bool:
    num_colours = _COLOURS[layout.photometric]
    # The first of several separate planes is a grey picture, regardless of the others.
    is_plane = layout.is_planar and num_colours == 1 and not any(extras)
    if -1 in extras or (len(extras) > _MOST_EXTRAS[num_colours] and not is_plane):
        return False
    if layout.sample_format == _UNSIGNED and 1 <= layout.bits <= 16:
        has_predictor = layout.predictor == 2 and layout.bits in (8, 16)
        return layout.predictor == 1 or has_predictor
    if layout.bands > 1 or layout.photometric > 1:
        return False
    if layout.sample_format == _FLOAT:
        return layout.bits in (16, 32, 64) and layout.predictor in (1, 2, 3)
    has_width = layout.bits in ((8, 16, 32, 64) if layout.sample_format == _SIGNED else (32, 64))
    return layout.sample_format in (_UNSIGNED, _SIGNED) and has_width and layout.predictor < 3


def _unsupported(layout: Layout) -> UnsupportedImageFormat:
    return UnsupportedImageFormat(f"a TIFF of {layout.in_words()} is not accepted")


def _picture(samples: NDArray[Any], page: TiffPage, extras: tuple[int, ...]) -> Image.Image:
    layout = page.layout
    num_colours = _COLOURS[layout.photometric]
    if layout.photometric == _PALETTE:
        colours = _palette(page)[samples[..., 0]]  # (H, W, 3)
    elif layout.sample_format == _UNSIGNED and layout.bits <= 16:
        colours = scaled_to_eight_bits(samples[..., :num_colours], layout.bits)
    else:
        colours = grey_of_numbers(samples)
    if layout.photometric == _WHITE_IS_ZERO:
        colours = 255 - colours
    if not extras or extras[0] not in (_ASSOCIATED, _UNASSOCIATED, _CORELS_ALPHA):
        return _without_alpha(colours)
    alpha = scaled_to_eight_bits(samples[..., num_colours, None], layout.bits)
    is_associated = extras[0] == _ASSOCIATED
    if layout.photometric == _SEPARATED:
        inks = _divided_inks(colours, alpha) if is_associated else colours
        colours, is_associated = np.asarray(_without_alpha(inks).convert("RGB")), False
    return _with_alpha(colours, alpha, is_associated=is_associated)


def _without_alpha(colours: NDArray[np.uint8]) -> Image.Image:
    mode = "CMYK" if colours.shape[-1] == 4 else None
    return Image.fromarray(colours[..., 0] if colours.shape[-1] == 1 else colours, mode)


def _divided_inks(inks: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the inks as they were before they were multiplied by alpha.

    No ink is white, so that multiplied inks nearly show the picture on white. But black ink is
    itself multiplied with the other inks, which would make dark colours too dark.
    """
    wide = inks.astype(np.uint16)
    wide *= 255
    wide += alpha // 2  # round to the nearest
    wide //= np.maximum(alpha, 1)
    return np.minimum(wide, 255, out=wide).astype(np.uint8)


def _with_alpha(
    colours: NDArray[np.uint8], alpha: NDArray[np.uint8], *, is_associated: bool
) -> Image.Image:
    rgb = np.broadcast_to(colours, (*colours.shape[:2], 3))
    if is_associated:  # the colours are already multiplied by alpha: add the rest as white
        return Image.fromarray(rgb + np.minimum(255 - alpha, 255 - rgb))
    return Image.fromarray(np.concatenate([rgb, alpha], axis=-1))


def _palette(page: TiffPage) -> NDArray[np.uint8]:
    """Return the colours of a palette, (2^bits, 3); missing ones are black."""
    num_colours = 2**page.layout.bits
    values = np.asarray(page.tags.get(320, ()), np.uint16)[: 3 * num_colours]
    if len(values) % 3 or not len(values):
        raise InvalidImage("the picture's palette is damaged")
    # Old programs wrote 8-bit values into the 16-bit palette; libtiff has the same rule.
    eight_bit = values if values.max() < 256 else values >> 8
    table = np.zeros((num_colours, 3), np.uint8)
    table[: len(values) // 3] = eight_bit.reshape(3, -1).T
    return table


def _read_by_pillow(data: bytes, page: TiffPage) -> Image.Image:
    """Read the pages that Pillow reads correctly: 8 bits, and the 1 bit of fax."""
    layout = page.layout
    is_subsampled = layout.photometric == _YCBCR and page.tags.get(530, (2, 2)) != (1, 1)
    # Pillow returns noise for subsampled colours without compression, and cannot read WebP.
    if (is_subsampled and layout.compression == _UNCOMPRESSED) or layout.compression in WEBP:
        raise _unsupported(layout)
    try:
        image = TiffImageFile(io.BytesIO(data))
        image.seek(page.number)
    except (SyntaxError, KeyError) as error:
        raise _unsupported(layout) from error
    if layout.is_sparse:
        raise UnsupportedImageFormat(f"a sparse TIFF of {layout.in_words()} is not accepted")
    image.info.pop("xmp", None)  # Pillow would apply the orientation in it
    image.load()
    return image
