"""Works around Pillow's errors in PNG files: metadata that it rejects, and transparent colours."""

import io
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_OPTIONAL = (b"tRNS", b"eXIf")


def without_metadata(data: bytes) -> bytes:
    """Return a PNG without texts, profiles and other chunks that do not change its pixels.

    Pillow rejects the whole picture for a text of over a megabyte or a wrong checksum of any chunk.
    Browsers ignore both.
    """
    return SIGNATURE + b"".join(chunk for chunk in _chunks(data) if _is_needed(chunk))


def _chunks(data: bytes) -> Iterator[memoryview]:
    """Yield length, name, content and checksum of each chunk; the last one may be cut short."""
    view, offset = memoryview(data), len(SIGNATURE)
    while offset < len(data):
        length = int.from_bytes(view[offset : offset + 4])
        yield view[offset : offset + 12 + length]
        offset += 12 + length


def _is_needed(chunk: memoryview) -> bool:
    name = bytes(chunk[4:8])
    if name not in _OPTIONAL:
        # Keep unknown critical chunks, so that Pillow rejects the file.
        return name in _CRITICAL or not name or not name[0] & 0x20
    return len(chunk) >= 12 and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])


def with_transparent_colour(image: Image.Image, data: bytes) -> Image.Image:
    """Return the picture of a PNG with the pixels of its transparent colour made transparent.

    Pillow returns the colour with the file's bit depth, but reduces the pixels to 8 bits.

    Args:
        data: as returned by `without_metadata`.
    """
    bits, colour = data[24], image.info.get("transparency")
    if isinstance(colour, int) and bits in (2, 4):
        highest = 2**bits - 1
        image.info["transparency"] = (colour & highest) * (255 // highest)
    if isinstance(colour, tuple) and bits == 16:
        del image.info["transparency"]
        pixels = np.asarray(image).astype(np.uint16)
        pixels <<= 8
        pixels |= _low_bytes(data)
        image.putalpha(_opaque_but(colour, pixels))
    return image


def _low_bytes(data: bytes) -> NDArray[np.uint8]:
    """Return the lower bytes of an RGB picture of 16 bits, (H, W, 3)."""
    image = Image.open(io.BytesIO(data), formats=("PNG",))
    image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
    return np.asarray(image)


def _opaque_but(colour: tuple[int, ...], pixels: NDArray[np.uint16]) -> Image.Image:
    is_colour = (pixels == np.array(colour, np.uint16)).all(axis=-1)
    return Image.fromarray(np.where(is_colour, 0, 255).astype(np.uint8))
