"""Converts everything that callers pass as a picture to the bytes of a file."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from kosmos2_client.errors import InvalidPicture

Picture = str | os.PathLike[str] | bytes | BinaryIO | Any
"""A path, the bytes of a file, an open binary file, a Pillow picture, or an array of pixels.

Boxes refer to the upright picture of a file. A Pillow picture or an array is sent as it is: boxes
refer to its own pixels. Arrays have the shape (height, width), (height, width, 3) with RGB, or
(height, width, 4) with RGBA, and 8 bits per sample.
"""

_PNG_MODES = {"1", "I;16", "L", "LA", "P", "RGB", "RGBA"}
_SAMPLES = {"|u1", "|b1"}
"""Types of the values of arrays: Pillow would cut off those of others at 255 without an error."""


def read_picture(picture: Picture) -> bytes:
    """Return the bytes of a picture's file; a Pillow picture or an array becomes a PNG file.

    Raises:
        InvalidPicture: the object is no picture, is a URL, or needs the extra `pillow`.
        OSError: the file cannot be read.
    """
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture)
    if isinstance(picture, str | os.PathLike):
        return _read_path(picture)
    if hasattr(picture, "read"):
        return _read_file(picture.read)
    if hasattr(picture, "mode") and hasattr(picture, "save"):
        return _encode(picture)
    if hasattr(picture, "__array_interface__"):
        return _encode(_pillow_of(picture))
    raise InvalidPicture(f"a {type(picture).__name__} is no picture")


def _read_path(path: str | os.PathLike[str]) -> bytes:
    if os.fspath(path).startswith(("http://", "https://")):
        raise InvalidPicture("the service does not load URLs; download the picture first")
    try:
        return Path(path).read_bytes()
    except ValueError as error:  # the path contains a zero byte or a lone surrogate
        raise InvalidPicture(f"the path is invalid: {error}") from None


def _read_file(read: Callable[[], object]) -> bytes:
    data = read()
    if not isinstance(data, bytes):
        raise InvalidPicture("the file must be opened in binary mode")
    return data


def _pillow_of(array: Any) -> Any:
    samples = array.__array_interface__["typestr"]
    if samples not in _SAMPLES:
        raise InvalidPicture(f"an array must have values of the type uint8, not {samples}")
    try:
        from PIL import Image
    except ImportError:
        message = "arrays need Pillow: pip install 'kosmos2-client[pillow]'"
        raise InvalidPicture(message) from None
    try:
        return Image.fromarray(array)
    except (TypeError, ValueError) as error:
        raise InvalidPicture(f"the array cannot be converted: {error}") from None


def _encode(image: Any) -> bytes:
    """Return a Pillow picture as PNG, without the orientation of the file it was read from."""
    target = io.BytesIO()
    encodable = image if image.mode in _PNG_MODES else image.convert("RGB")
    try:
        encodable.save(target, format="PNG", exif=b"", compress_level=1)
    except ValueError as error:  # it has no pixels
        raise InvalidPicture(f"the picture cannot be converted: {error}") from None
    return target.getvalue()
