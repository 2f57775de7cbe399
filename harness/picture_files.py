"""One landscape as a file of every kind of every accepted format."""

import io
import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.bmp_files import bmp_files
from harness.png_files import png_files
from harness.scenery import ALPHA, LANDSCAPE
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
    yield from (PictureFile(name, data, expected=pixels) for name, data, pixels in bmp_files())
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


def _pngs() -> Iterator[PictureFile]:
    yield from (PictureFile(name, data) for name, data in png_files())
    for number in range(2, 9):
        data = _encode(_RGB, "PNG", exif=_exif_with_orientation(number))
        yield PictureFile(f"PNG orientation={number}", data, number)
    frames = {"save_all": True, "append_images": [_RGB.rotate(180)]}
    yield PictureFile("PNG animated", _encode(_RGB, "PNG", **frames))


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
    yield from _small_frames()


def _small_frames() -> Iterator[PictureFile]:
    """Yield GIF files whose only frame is a part of the picture; the rest is white."""
    box = (7, 5, 40, 30)
    for name, options in (("colours", {}), ("transparent", {"transparency": 5})):
        frame = _RGB.crop(box).quantize(64)
        data = bytearray(_encode(frame, "GIF", **options))
        data[6:10] = struct.pack("<HH", *_RGB.size)
        offset = data.index(b"," + struct.pack("<4H", 0, 0, *frame.size))
        data[offset + 1 : offset + 5] = struct.pack("<HH", *box[:2])
        frame.info.update(options)
        expected = Image.new("RGBA", _RGB.size, "white")
        expected.alpha_composite(frame.convert("RGBA"), box[:2])
        pixels = np.asarray(expected.convert("RGB"), np.float64)
        yield PictureFile(f"GIF small frame, {name}", bytes(data), expected=pixels)


def _webps() -> Iterator[PictureFile]:
    for name, image in (("RGB", _RGB), ("RGBA", _RGBA), ("L", _GREY)):
        # `exact` keeps the colours below transparent pixels.
        data = _encode(image, "WEBP", lossless=True, exact=True)
        yield PictureFile(f"WebP {name} lossless", data)
        yield PictureFile(f"WebP {name} lossy", _encode(image, "WEBP", quality=95), is_lossy=True)
    for number in range(2, 9):
        data = _encode(_RGB, "WEBP", lossless=True, exif=_exif_with_orientation(number))
        yield PictureFile(f"WebP orientation={number}", data, number)
    frames: dict[str, Any] = {"save_all": True, "append_images": [_GREY], "lossless": True}
    yield PictureFile("WebP animated", _encode(_RGB, "WEBP", **frames))
    # The encoder crops the first frame to its opaque part, so that no frame has alpha.
    frames["append_images"] = [Image.new("RGBA", _RGB.size, "green")]
    part = Image.new("RGBA", _RGB.size)
    part.paste(_RGB.crop((6, 4, 40, 30)), (6, 4))
    expected = Image.new("RGB", _RGB.size, "white")
    expected.paste(part, mask=part)
    pixels = np.asarray(expected, np.float64)
    data = _encode(part, "WEBP", **frames)
    yield PictureFile("WebP animated, small frame", data, expected=pixels)


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
