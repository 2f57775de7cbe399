"""The only decoder of users' files: bytes in, the upright picture and the model's pixels out."""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Importing the two plugins registers their formats; else Pillow imports every plugin.
from PIL import Image, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin  # noqa: F401

from app.errors import ImageTooLarge, InvalidImage, UnsupportedImageFormat
from app.ipc.engine_messages import PICTURE_SIDE
from app.pictures.formats import ACCEPTED, ACCEPTED_IN_WORDS, unaccepted_format
from app.pictures.rgb import to_rgb

_JPEG_SIDE = 65500
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's decoders raise on bytes that lie. They are many, and not all are documented.
_DECODER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    EOFError,
    Warning,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class Picture:
    """A user's picture, decoded.

    Args:
        upright: RGB, turned as its EXIF orientation asks, at full size, without metadata.
        exif_orientation: what the file said, 1…8; 1 if it said nothing that can be read.
        pixels: the picture squashed to 224×224, RGB of 8 bits, row by row (150,528 bytes).
    """

    upright: Image.Image
    exif_orientation: int
    pixels: bytes

    @property
    def width(self) -> int:
        """Of the upright picture, in pixels."""
        return self.upright.width

    @property
    def height(self) -> int:
        """Of the upright picture, in pixels."""
        return self.upright.height


def decode_picture(data: bytes, *, max_pixels: int, jpeg_round_trip: bool = False) -> Picture:
    r"""Decode a file by what its bytes are; of several frames or pages, the first.

    Args:
        data: the file.
        max_pixels: width × height at most; Pillow's own limit of 179 million holds beside it.
        jpeg_round_trip: whether the picture passes through JPEG first, as in the original demo.

    Raises:
        UnsupportedImageFormat: it is a picture of a format that is not accepted.
        ImageTooLarge: it has too many pixels; told from its header.
        InvalidImage: it is no picture, is cut short or does not decode.

    >>> file = io.BytesIO()
    >>> Image.new("RGB", (640, 480), "red").save(file, "PNG")
    >>> picture = decode_picture(file.getvalue(), max_pixels=1_000_000)
    >>> picture.width, picture.height, picture.exif_orientation, picture.pixels[:3]
    (640, 480, 1, b'\xff\x00\x00')
    """
    with _decoder_errors_as_ours(data, max_pixels):
        image = Image.open(io.BytesIO(data), formats=ACCEPTED)
        if image.width * image.height > max_pixels:
            raise _too_large(max_pixels)
        orientation = _orientation(image)
        upright = to_rgb(_turned(image, orientation))
        if jpeg_round_trip:
            upright = _through_jpeg(upright)
        # As the reference does: the aspect ratio is given up, nothing is cropped.
        squashed = upright.resize((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.BICUBIC)
        return Picture(upright, orientation, squashed.tobytes())


@contextmanager
def _decoder_errors_as_ours(data: bytes, max_pixels: int) -> Iterator[None]:
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(max_pixels) from error
    except UnidentifiedImageError as error:
        name = unaccepted_format(data)
        if name is None:
            raise InvalidImage(
                f"the bytes are no picture that can be read; accepted are {ACCEPTED_IN_WORDS}"
            ) from error
        raise UnsupportedImageFormat(
            f"{name} is not accepted; accepted are {ACCEPTED_IN_WORDS}"
        ) from error
    except _DECODER_ERRORS as error:
        raise InvalidImage("the picture is cut short or damaged") from error


def _too_large(max_pixels: int) -> ImageTooLarge:
    return ImageTooLarge(f"the picture has more than {max_pixels / 1e6:g} million pixels")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; to be asked before `load`, which clears it in a TIFF."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except _DECODER_ERRORS:  # damaged metadata do not make a bad picture
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    image.load()
    if orientation == 1 or image.format == "TIFF":  # Pillow turns a TIFF while loading it
        return image
    return image.transpose(_UPRIGHT[orientation])


def _through_jpeg(rgb: Image.Image) -> Image.Image:
    if max(rgb.size) > _JPEG_SIDE:
        raise InvalidImage(f"a side of more than {_JPEG_SIDE} pixels does not go through JPEG")
    file = io.BytesIO()
    rgb.save(file, "JPEG")
    return to_rgb(Image.open(file, formats=("JPEG",)))
