"""A small picture in every accepted format, and in variants that decoders treat differently."""

import io
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from harness.picture_files import other_pictures, tiff_pictures


def file_of(image: Image.Image, image_format: str, **options: Any) -> bytes:
    """Return a picture encoded in a format."""
    written = io.BytesIO()
    image.save(written, image_format, **options)
    return written.getvalue()


def landscape(mode: str = "RGB") -> Image.Image:
    """Return a smooth picture of 60×40 pixels with four different corners."""
    y, x = np.mgrid[0:40, 0:60]
    channels = np.stack([x * 4, y * 6, 255 - x * 2 - y * 3], axis=-1).astype(np.uint8)
    return Image.fromarray(channels).convert(mode)


def exif(orientation: int) -> bytes:
    """Return EXIF metadata with an orientation, as a camera writes it."""
    metadata = Image.Exif()
    metadata[0x0112] = orientation
    return metadata.tobytes()


def _translucent() -> Image.Image:
    image = landscape("RGBA")
    image.putalpha(landscape("L"))
    return image


def _png_comments() -> PngImagePlugin.PngInfo:
    comments = PngImagePlugin.PngInfo()
    comments.add_text("Comment", "plain")
    comments.add_text("Compressed", "packed", zip=True)
    comments.add_itxt("International", "größer", zip=True)
    return comments


_METADATA = {"exif": exif(6), "icc_profile": b"profile"}

FILES = {
    "JPEG": file_of(landscape(), "JPEG", quality=95),
    "progressive JPEG": file_of(landscape(), "JPEG", progressive=True),
    "CMYK JPEG": file_of(landscape("CMYK"), "JPEG"),
    "MPO": file_of(landscape(), "MPO", save_all=True, append_images=[landscape().rotate(180)]),
    "PNG": file_of(landscape(), "PNG"),
    "palette PNG": file_of(landscape().quantize(16), "PNG", transparency=3),
    "16-bit PNG": file_of(Image.fromarray(np.full((40, 60), 40_000, np.uint16)), "PNG"),
    "WebP": file_of(landscape(), "WEBP", lossless=True),
    "lossy WebP": file_of(_translucent(), "WEBP"),
    "animated WebP": file_of(landscape(), "WEBP", save_all=True, append_images=[_translucent()]),
    "GIF": file_of(landscape(), "GIF"),
    "animated GIF": file_of(landscape(), "GIF", save_all=True, append_images=[landscape("L")]),
    "BMP": file_of(landscape(), "BMP"),
    "palette BMP": file_of(landscape().quantize(16), "BMP"),
    "TIFF": file_of(landscape(), "TIFF"),
    "LZW TIFF": file_of(landscape(), "TIFF", compression="tiff_lzw"),
    "deflate TIFF": file_of(landscape(), "TIFF", compression="tiff_adobe_deflate"),
    "JPEG TIFF": file_of(landscape(), "TIFF", compression="jpeg"),
    "fax TIFF": file_of(landscape("1"), "TIFF", compression="group4"),
    "float TIFF": file_of(landscape("F"), "TIFF"),
    "big TIFF": file_of(landscape(), "TIFF", big_tiff=True),
    "AVIF": file_of(landscape(), "AVIF", quality=90),
    "two-page TIFF": file_of(landscape(), "TIFF", save_all=True, append_images=[landscape("L")]),
}
"""Files without metadata, 60×40 pixels, by name."""

FILES_WITH_METADATA = {
    "JPEG with metadata": file_of(landscape(), "JPEG", comment=b"comment", **_METADATA),
    "PNG with metadata": file_of(landscape(), "PNG", pnginfo=_png_comments(), **_METADATA),
    "WebP with metadata": file_of(landscape(), "WEBP", xmp=b"<x/>", **_METADATA),
    "TIFF with metadata": file_of(landscape(), "TIFF", **_METADATA),
    "GIF with a comment": file_of(landscape(), "GIF", comment=b"comment"),
}
"""The same picture with the metadata that cameras and programs add."""

ALL_FILES = FILES | FILES_WITH_METADATA
"""Files with and without metadata."""

KINDS = {file.name: file.data for file in (*tiff_pictures(step=150), *list(other_pictures())[::12])}
"""Some of the files of the comparison with the oracle, for the fuzzers."""

FUZZED = ALL_FILES | KINDS
"""The files that the fuzzers damage."""
