"""Reads picture files with decoders that are independent of Pillow, as a second opinion.

tifffile reads TIFF, imagecodecs reads everything else. For kinds of BMP that neither reads, the
generator provides the pixels. The libraries do not interpret the samples of a TIFF. This module
does so from the specifications, in floating point and without optimisation.
"""

import io
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from harness.picture_files import PictureFile
from harness.tiff_compression import JPEG
from harness.tiffs import ASSOCIATED, CMYK, FLOAT, LAB, PALETTE, SIGNED, WHITE_IS_ZERO, YCBCR

Pixels = NDArray[np.float64]
"""A picture on white, upright: (H, W, 3) of 0…255."""


def read_pixels(file: PictureFile) -> Pixels:
    """Return the picture in a file.

    Raises:
        ValueError: the oracle does not support this kind of file.
    """
    if file.expected is not None:
        return file.expected
    picture = _tiff(file) if file.format == "TIFF" else _READERS[file.format](file.data)
    return _rotate(picture, file.orientation)


def _rotate(picture: Pixels, orientation: int) -> Pixels:
    """Apply the EXIF table that maps row 0 and column 0 of the file to sides of the picture."""
    if orientation >= 5:
        picture = picture.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        picture = picture[::-1]
    if orientation in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    return picture


def _on_white(bands: NDArray[Any], *, is_associated: bool = False) -> Pixels:
    """Blend bands of 0…1 with white: grey or RGB, with or without alpha."""
    num_colours = 1 if bands.shape[-1] <= 2 else 3
    colours, alpha = bands[..., :num_colours], bands[..., num_colours:]
    if alpha.shape[-1]:
        # Associated alpha is already multiplied into the colours.
        colours = np.minimum((colours if is_associated else colours * alpha) + 1 - alpha, 1)
    return np.asarray(np.broadcast_to(colours * 255.0, (*colours.shape[:2], 3)))


def _tiff(file: PictureFile) -> Pixels:
    with tifffile.TiffFile(io.BytesIO(file.data)) as tiff:
        page = tiff.pages.first
        samples = page.asarray()
        # Separate planes: (bands, H, W).
        if page.planarconfig == 2 and samples.ndim == 3:
            samples = np.moveaxis(samples, 0, -1)
        samples = samples.reshape(page.imagelength, page.imagewidth, -1)
        if samples.dtype == bool:
            samples = samples.astype(np.uint8)
        return _interpret(samples, page)


def _interpret(samples: NDArray[Any], page: Any) -> Pixels:
    photometric, extras = int(page.photometric), tuple(int(extra) for extra in page.extrasamples)
    if photometric == PALETTE:
        palette = page.colormap.T / 65535.0
        alpha = [samples[..., 1:2] / 255.0] if 2 in extras else []
        return _on_white(np.concatenate([palette[samples[..., 0]], *alpha], -1))
    values = _between_black_and_white(samples, page)
    num_colours = values.shape[-1] - len(extras)
    colours, others = values[..., :num_colours], values[..., num_colours:]
    if photometric == WHITE_IS_ZERO:
        colours = 1 - colours
    if photometric == YCBCR and page.compression != JPEG:  # the JPEG reader has converted it
        return _from_ycbcr(colours * 255)
    if photometric == LAB:
        return _from_lab(samples)
    has_alpha = bool(extras) and extras[0] in (1, 2)
    is_associated = extras[:1] == (ASSOCIATED,)
    if photometric == CMYK:
        # The minimum avoids a division by zero where nothing is visible.
        inks = colours / np.maximum(others[..., :1], 1e-9) if is_associated else colours
        inks = np.minimum(inks, 1)
        colours, is_associated = (1 - inks[..., :3]) * (1 - inks[..., 3:]), False
    bands = [colours, others[..., :1]] if has_alpha else [colours]
    return _on_white(np.concatenate(bands, -1), is_associated=is_associated)


def _from_ycbcr(values: NDArray[Any]) -> Pixels:
    y, blue, red = np.moveaxis(values, -1, 0)
    blue, red = blue - 128, red - 128
    rgb = np.stack([y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue], -1)
    return np.asarray(np.clip(rgb, 0, 255))


def _from_lab(samples: NDArray[Any]) -> Pixels:
    """Convert CIE Lab with white point D50; TIFF stores a and b as signed bytes."""
    light = (samples[..., 0].astype(float) * 100 / 255 + 16) / 116
    a, b = np.moveaxis(samples[..., 1:].astype(np.int8).astype(float), -1, 0)
    parts = np.stack([light + a / 500, light, light - b / 200], -1)
    xyz = np.where(parts > 6 / 29, parts**3, 3 * (6 / 29) ** 2 * (parts - 4 / 29))
    linear = np.clip(xyz * _D50 @ _XYZ_TO_SRGB.T, 0, 1)
    curved = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return np.asarray(curved * 255)


_D50 = np.array([0.9642, 1.0, 0.8249])
_XYZ_TO_SRGB = np.array(  # with the Bradford adaptation from D50 to D65
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
)


def _between_black_and_white(samples: NDArray[Any], page: Any) -> NDArray[np.float64]:
    """Return the samples as 0…1; numbers without a defined white follow the rule of the README."""
    values: NDArray[np.float64] = samples.astype(np.float64)
    bits = page.bitspersample
    if page.sampleformat == FLOAT:
        low, high = min(0.0, values.min()), max(1.0, values.max())
        return values if (low, high) == (0, 1) else _stretch(values)
    highest: int = 2**bits - 1
    if page.sampleformat == SIGNED or bits > 16:
        fits = bits > 8 and values.min() >= 0 and values.max() <= 65535
        return values / 65535 if fits else _stretch(values)
    return values / highest


def _stretch(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # The minimum avoids a division by zero for a picture of one value.
    return np.asarray((values - values.min()) / max(np.ptp(values), 1e-300))


def _reader_for(decoder: Callable[[bytes], NDArray[Any]]) -> Callable[[bytes], Pixels]:
    """Return a reader for a decoder of imagecodecs that returns grey or RGB, maybe with alpha."""

    def read(data: bytes) -> Pixels:
        pixels = decoder(data)
        # An animation: the service only uses the first frame.
        while pixels.ndim > 3 or (pixels.ndim == 3 and pixels.shape[-1] > 4):
            pixels = pixels[0]
        bands = pixels.reshape(*pixels.shape[:2], -1)
        return _on_white(bands / np.iinfo(bands.dtype).max)

    return read


def _jpeg(data: bytes) -> Pixels:
    """Read a JPEG; add its end marker if it lacks one."""
    # The files made by the harness lack nothing else.
    # If only the last byte is missing, only that byte is added.
    ending = b"" if data.endswith(b"\xff\xd9") else b"\xff\xd9"[data.endswith(b"\xff") :]
    pixels = imagecodecs.jpeg8_decode(data + ending)
    if pixels.ndim == 3 and pixels.shape[-1] == 4:  # Adobe's CMYK: 255 is no ink
        inks = pixels / 255.0
        return _on_white(inks[..., :3] * inks[..., 3:])
    return _reader_for(lambda _: pixels)(data)


def _bmp(data: bytes) -> Pixels:
    """Read a BMP; if its alpha is 0 everywhere, ignore alpha, as browsers do."""
    pixels = imagecodecs.bmp_decode(data)
    bands = pixels.reshape(*pixels.shape[:2], -1)
    return _reader_for(lambda _: bands if bands[..., 3:].any() else bands[..., :3])(data)


_READERS: dict[str, Callable[[bytes], Pixels]] = {
    "PNG": _reader_for(imagecodecs.png_decode),
    "BMP": _bmp,
    "JPEG": _jpeg,
    "GIF": _reader_for(imagecodecs.gif_decode),
    "WebP": _reader_for(imagecodecs.webp_decode),
    "AVIF": _reader_for(imagecodecs.avif_decode),
}
