"""Decodes users' files: returns the upright picture and the pixels for the model."""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Importing a plugin registers its format. Otherwise Pillow imports every plugin on first use.
from PIL import AvifImagePlugin, Image, ImageChops, UnidentifiedImageError, WebPImagePlugin
from PIL.GifImagePlugin import GifImageFile
from PIL.TiffImagePlugin import TiffImageFile

from app.checkpoint.picture_size import PICTURE_SIDE
from app.errors import ImageTooLarge, InvalidImage, RequestError, UnsupportedImageFormat
from app.pictures import bmp, bmp_palette, gif, heic, jpeg, png, tiff, webp
from app.pictures.formats import (
    ACCEPTED_IN_WORDS,
    OPENED_BY_PILLOW,
    unaccepted_format,
    unaccepted_kind,
)
from app.pictures.rgb import to_rgb

# Each picture process uses one core. Naming the plugins here also marks them as used.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
_PLUGINS = (AvifImagePlugin, WebPImagePlugin)

_JPEG_SIDE = 65500  # the largest side that libjpeg writes
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
# The errors that Pillow's decoders raise for damaged files; not all of them are documented.
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
    """A decoded picture.

    Args:
        upright: RGB, rotated according to its EXIF orientation, at full size, without metadata.
        exif_orientation: as stored in the file, 1…8; 1 if it is missing or cannot be read.
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
    r"""Decode a file whose format is detected from its bytes; of several frames, decode the first.

    Args:
        max_pixels: largest width × height. Pillow's own limit of 179 million applies as well.
        jpeg_round_trip: whether to encode and decode the picture as JPEG first, as the original
            demo does.

    Raises:
        UnsupportedImageFormat: the file has a known format that is not accepted.
        ImageTooLarge: the header of the file declares too many pixels.
        InvalidImage: the file is not a picture, is cut short or does not decode.

    >>> file = io.BytesIO()
    >>> Image.new("RGB", (640, 480), "red").save(file, "PNG")
    >>> picture = decode_picture(file.getvalue(), max_pixels=1_000_000)
    >>> picture.width, picture.height, picture.exif_orientation, picture.pixels[:3]
    (640, 480, 1, b'\xff\x00\x00')
    """
    with _decoder_errors_as_ours(data, max_pixels):
        upright, orientation = _open_upright(data, max_pixels)
        if jpeg_round_trip:
            upright = _through_jpeg(upright)
        return Picture(upright, orientation, squash(upright))


def decode_upright(data: bytes, *, max_pixels: int) -> Image.Image:
    """Return only the `upright` picture of `decode_picture`, which raises the same errors."""
    with _decoder_errors_as_ours(data, max_pixels):
        return _open_upright(data, max_pixels)[0]


def squash(picture: Image.Image) -> bytes:
    """Return an RGB picture as the model's input: 224×224 pixels of 3 bytes, row by row."""
    # Like the reference, this ignores the aspect ratio and crops nothing.
    return picture.resize((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.BICUBIC).tobytes()


def _open_upright(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    """Return the upright RGB picture, and the orientation that the file had."""
    image, orientation = _open(data, max_pixels)
    return to_rgb(_turned(image, orientation)), orientation


def _open(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    """Return the decoded picture and the orientation that the caller still has to apply."""
    if tiff.is_tiff(data):
        return _open_tiff(data, max_pixels)
    if data.startswith(bmp.SIGNATURE) and (picture := _open_bmp(data, max_pixels)):
        return picture, 1
    if data.startswith(png.SIGNATURE):
        data = png.without_metadata(data)
    if webp.is_animation(data):
        data = webp.with_alpha(data)
    image: Image.Image = Image.open(io.BytesIO(data), formats=OPENED_BY_PILLOW)
    _check_size(image.size, max_pixels)
    orientation = _orientation(image)
    if image.format == "PNG":
        image = png.with_transparent_colour(image, data)
    image = _loaded(image, data)
    if isinstance(image, GifImageFile):
        image = gif.with_clear_border(image)
    return image, orientation


def _open_tiff(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    page = tiff.find_page(data)
    _check_size((page.layout.width, page.layout.height), max_pixels)
    return tiff.read_page(data, page), _valid(page.orientation)


def _open_bmp(data: bytes, max_pixels: int) -> Image.Image | None:
    """Return the picture of a BMP with bit fields or a palette, `None` for any other BMP."""
    if fields := bmp.find_bit_fields(data):
        _check_size((fields.width, fields.height), max_pixels)
        return bmp.read_bit_fields(data, fields)
    if indices := bmp_palette.find_indices(data):
        _check_size((indices.width, indices.height), max_pixels)
        return bmp_palette.read_indices(data, indices)
    return None


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise _too_large(max_pixels)


def _loaded(image: Image.Image, data: bytes) -> Image.Image:
    try:
        image.load()
    except OSError:
        if not jpeg.lacks_end_only(data):
            raise
        return _loaded_to_its_end(data)
    return image


def _loaded_to_its_end(data: bytes) -> Image.Image:
    """Decode a JPEG that lacks its end marker.

    Raises:
        InvalidImage: more than the end marker is missing.
    """
    # If pixel data are missing, the decoder makes them up from the ending: the pictures differ.
    first, *others = (
        Image.open(io.BytesIO(file), formats=("JPEG",)) for file in jpeg.with_endings(data)
    )
    if any(ImageChops.difference(first, other).getbbox(alpha_only=False) for other in others):
        raise InvalidImage("the picture is cut short")
    return first


@contextmanager
def _decoder_errors_as_ours(data: bytes, max_pixels: int) -> Iterator[None]:
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(max_pixels) from error
    except _DECODER_ERRORS as error:
        raise _refusal(data, error) from error


def _refusal(data: bytes, error: Exception) -> RequestError:
    if kind := unaccepted_kind(data, str(error)):
        return UnsupportedImageFormat(f"{kind} is not accepted")
    if not isinstance(error, UnidentifiedImageError):
        return InvalidImage("the picture is cut short or damaged")
    name = unaccepted_format(data)
    if name in heic.NAMES and heic.OBSTACLE is None:
        return InvalidImage("the picture is cut short or damaged")
    if name is not None:
        why = f" ({heic.OBSTACLE})" if name in heic.NAMES else ""
        return UnsupportedImageFormat(
            f"{name} is not accepted{why}; accepted formats are {ACCEPTED_IN_WORDS}"
        )
    return InvalidImage(
        f"the bytes are not a readable picture; accepted formats are {ACCEPTED_IN_WORDS}"
    )


def _too_large(max_pixels: int) -> ImageTooLarge:
    return ImageTooLarge(f"the picture has more than {max_pixels / 1e6:g} million pixels")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation. An orientation in XMP is dropped, because browsers ignore it."""
    for key in ("xmp", "XML:com.adobe.xmp"):
        image.info.pop(key, None)
    try:
        return _valid(image.getexif().get(_ORIENTATION_TAG, 1))
    except _DECODER_ERRORS:  # damaged metadata do not make the picture unreadable
        return 1


def _valid(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and orientation in _UPRIGHT else 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    if orientation == 1 or isinstance(image, TiffImageFile):  # Pillow already rotates TIFF files
        return image
    return image.transpose(_UPRIGHT[orientation])


def _through_jpeg(rgb: Image.Image) -> Image.Image:
    if max(rgb.size) > _JPEG_SIDE:
        raise InvalidImage(f"a side is longer than {_JPEG_SIDE} pixels, the limit of JPEG")
    file = io.BytesIO()
    rgb.save(file, "JPEG")
    return to_rgb(Image.open(file, formats=("JPEG",)))
