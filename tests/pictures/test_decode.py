"""Pictures are decoded as in the reference, upright and on white."""

import io
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Transpose
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from app.checkpoint.picture_size import PICTURE_BYTES, PICTURE_SIDE
from app.errors import InvalidImage
from app.pictures.decode import Picture, decode_picture
from harness.formats import FILES, exif, file_of, landscape
from harness.png_chunks import chunk, png

# Pillow warns about damaged metadata and large headers; the tests below cover these files.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

MAX_PIXELS = 1_000_000
WHITE = [255, 255, 255]


def decode(data: bytes, **options: Any) -> Picture:
    return decode_picture(data, max_pixels=MAX_PIXELS, **options)


def upright(data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(decode(data).upright)


@pytest.mark.parametrize("name", FILES)
def test_every_accepted_format_is_decoded(name: str) -> None:
    """The format is detected from the bytes alone, without a file name."""
    picture = decode(FILES[name])
    assert (picture.width, picture.height) == (60, 40)
    assert picture.upright.mode == "RGB"
    assert picture.exif_orientation == 1
    assert len(picture.pixels) == PICTURE_BYTES


@pytest.mark.parametrize("name", ["MPO", "animated WebP", "animated GIF", "two-page TIFF"])
def test_the_first_of_several_frames_is_decoded(name: str) -> None:
    """Other contents of the file are ignored."""
    difference = upright(FILES[name]).astype(int) - np.asarray(landscape())
    assert np.abs(difference).mean() < 12


def synthetic_pictures() -> Iterable[Image.Image]:
    noise = np.random.default_rng(0)
    for width, height in [(1, 1), (224, 224), (225, 223), (7, 900), (1000, 3), (640, 480)]:
        yield Image.fromarray(noise.integers(0, 256, (height, width, 3), np.uint8))
    yield landscape()


def normalisation_table(image_processor: Any) -> np.ndarray[Any, Any]:
    """Return the reference's value of each byte of each channel, (3, 256)."""
    every_byte = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(np.stack([every_byte] * 3, axis=-1))
    values = image_processor(image, do_resize=False)["pixel_values"][0]
    return np.asarray(values).reshape(3, 256)


def assert_pixels_equal(image: Image.Image, image_processor: Any) -> None:
    """Check with difference zero that the engine's input equals the processor's."""
    rgb = image.convert("RGB")
    picture = decode_picture(file_of(rgb, "PNG"), max_pixels=50_000_000)
    pixels = np.frombuffer(picture.pixels, np.uint8).reshape(PICTURE_SIDE, PICTURE_SIDE, 3)
    table = normalisation_table(image_processor)
    normalised = np.stack([table[channel][pixels[..., channel]] for channel in range(3)])
    assert np.array_equal(normalised, image_processor(rgb)["pixel_values"][0])


def test_pixels_equal_those_of_the_reference() -> None:
    """Pictures of all shapes are squashed, from one pixel up."""
    side = {"height": PICTURE_SIDE, "width": PICTURE_SIDE}
    image_processor = CLIPImageProcessorPil(size=side, do_center_crop=False)
    for image in synthetic_pictures():
        assert_pixels_equal(image, image_processor)


@pytest.mark.slow
def test_pixels_of_the_demo_pictures_equal_those_of_the_published_processor(
    reference_processor: Any, shared_kosmos2: Path
) -> None:
    """The model card's answers were generated from these pictures."""
    paths = sorted((shared_kosmos2 / "images").iterdir())
    assert len(paths) == 4
    for path in paths:
        assert_pixels_equal(Image.open(path), reference_processor.image_processor)


TURNS = {
    1: None,
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", TURNS)
def test_every_exif_orientation_is_undone(image_format: str, orientation: int) -> None:
    """Boxes refer to the picture as viewers show it."""
    turn = TURNS[orientation]
    stored = landscape() if turn is None else landscape().transpose(turn)
    options: dict[str, Any] = {"lossless": True} if image_format == "WEBP" else {}
    picture = decode(file_of(stored, image_format, exif=exif(orientation), **options))
    assert picture.exif_orientation == orientation
    assert (picture.width, picture.height) == (60, 40)
    difference = np.asarray(picture.upright).astype(int) - np.asarray(landscape())
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_invalid_orientation_counts_as_1(orientation: int) -> None:
    """Cameras write 0 for an unknown orientation."""
    picture = decode(file_of(landscape(), "JPEG", exif=exif(orientation)))
    assert (picture.exif_orientation, picture.width) == (1, 60)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "damaged",
    [
        b"Exif\0\0",
        b"Exif\0\0MM\0*\0\0\0\x08",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        exif(6)[:-3],
        b"Exif\0\0nothing of the kind",
        exif(6).replace(b"\x00\x03", b"\x00\x63"),
    ],
)
def test_a_picture_with_damaged_exif_is_decoded(image_format: str, damaged: bytes) -> None:
    """Many programs write damaged EXIF."""
    picture = decode(file_of(landscape(), image_format, exif=damaged))
    assert sorted((picture.width, picture.height)) == [40, 60]


def test_no_metadata_is_kept() -> None:
    """An annotated picture must not reveal where it was taken."""
    data = file_of(landscape(), "PNG", exif=exif(3), dpi=(72, 72), icc_profile=b"profile")
    picture = decode(data)
    assert picture.upright.info == {}
    assert not picture.upright.getexif()


CLEAR_RED = (255, 0, 0, 0)


HALF_BLACK = (0, 0, 0, 128)


@pytest.mark.parametrize(
    ("data", "colour"),
    [
        (file_of(Image.new("RGBA", (8, 8), CLEAR_RED), "PNG"), WHITE),
        (file_of(Image.new("RGBA", (8, 8), HALF_BLACK), "PNG"), [127, 127, 127]),
        (file_of(Image.new("RGBA", (8, 8), CLEAR_RED), "WEBP", lossless=True), WHITE),
        (file_of(Image.new("RGBA", (8, 8), CLEAR_RED), "TIFF"), WHITE),
        (file_of(Image.new("LA", (8, 8), (0, 0)), "PNG"), WHITE),
        (file_of(Image.new("LA", (8, 8), (0, 128)), "TIFF"), [127, 127, 127]),
        (file_of(Image.new("P", (8, 8), 0), "GIF", transparency=0), WHITE),
        (file_of(Image.new("P", (8, 8), 0), "PNG", transparency=b"\0"), WHITE),
        (file_of(Image.new("P", (8, 8), 0), "PNG", transparency=b"\x80"), [127, 127, 127]),
        (file_of(Image.new("RGB", (8, 8), (1, 2, 3)), "PNG", transparency=(1, 2, 3)), WHITE),
        (file_of(Image.new("L", (8, 8), 7), "PNG", transparency=7), WHITE),
        (file_of(Image.new("1", (8, 8), 0), "PNG", transparency=0), WHITE),
        (png(1, 1, 16, 0, b"\0\x02\xbc", chunk(b"tRNS", b"\x02\xbc")), WHITE),
    ],
)
def test_transparent_pixels_become_white(data: bytes, colour: list[int]) -> None:
    """A plain conversion would show the hidden colour of transparent pixels."""
    assert upright(data)[0, 0].tolist() == colour


@pytest.mark.parametrize(
    ("data", "colour"),
    [
        (file_of(Image.new("1", (8, 8), 1), "PNG"), WHITE),
        (file_of(Image.new("L", (8, 8), 7), "PNG"), [7, 7, 7]),
        (file_of(Image.new("RGB", (8, 8), (1, 2, 3)).quantize(2), "PNG"), [1, 2, 3]),
        (file_of(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF"), [255, 0, 0]),
        (file_of(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), [255, 0, 0]),
        (file_of(Image.new("YCbCr", (8, 8), (76, 85, 255)), "TIFF"), [254, 0, 0]),
        (file_of(Image.new("LAB", (8, 8), (255, 128, 128)), "TIFF"), WHITE),
        (png(1, 1, 16, 2, b"\0\x01\xff\x80\0\xff\0"), [1, 128, 255]),
        (png(2, 1, 2, 0, b"\0\x60"), [85, 85, 85]),
    ],
)
def test_every_mode_becomes_rgb(data: bytes, colour: list[int]) -> None:
    """Scans, print proofs and web palettes look as in a viewer."""
    assert np.abs(upright(data)[0, 0].astype(int) - colour).max() <= 1


def ramp(dtype: type[np.generic], low: float, high: float) -> Image.Image:
    return Image.fromarray(np.linspace(low, high, 256).astype(dtype).reshape(16, 16))


@pytest.mark.parametrize(
    ("data", "darkest", "brightest"),
    [
        (file_of(ramp(np.uint16, 0, 65535), "PNG"), 0, 255),
        (file_of(ramp(np.uint16, 0, 65535), "TIFF"), 0, 255),
        (file_of(ramp(np.uint16, 2570, 25700), "PNG"), 10, 100),
        (file_of(ramp(np.int32, 0, 65535), "TIFF"), 0, 255),
        (file_of(ramp(np.int32, 2570, 25700), "TIFF"), 10, 100),
        (file_of(ramp(np.int32, -70_000, 70_000), "TIFF"), 0, 255),
        (file_of(ramp(np.float32, 0.0, 1.0), "TIFF"), 0, 255),
        (file_of(ramp(np.float32, 0.2, 0.4), "TIFF"), 51, 102),
        (file_of(ramp(np.float32, -3.5, 900.0), "TIFF"), 0, 255),
    ],
)
def test_deep_grey_is_rescaled(data: bytes, darkest: int, brightest: int) -> None:
    """A plain conversion would make most of an X-ray white."""
    grey = upright(data)
    assert (grey.min(), grey.max()) == (darkest, brightest)
    levels = grey[..., 0].ravel().astype(int)
    assert (np.diff(levels) >= 0).all()
    assert np.abs(levels - np.linspace(darkest, brightest, 256)).max() <= 1


def big_endian_tiff(values: list[int]) -> bytes:
    """Return a 16-bit grey TIFF as written on Macintosh (mode I;16B)."""
    tags = [(256, len(values)), (257, 1), (258, 16), (259, 1), (262, 1), (273, 8), (278, 1)]
    tags.append((279, 2 * len(values)))
    entries = b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    pixels = struct.pack(f">{len(values)}H", *values)
    directory = struct.pack(">H", len(tags)) + entries + struct.pack(">I", 0)
    return b"MM\0*" + struct.pack(">I", 8 + len(pixels)) + pixels + directory


def test_big_endian_grey_is_rescaled_too() -> None:
    """The byte order must not change the picture."""
    assert upright(big_endian_tiff([0, 257, 32896, 65535]))[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("level", [-5, 0, 7, 10**6])
@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_a_picture_of_one_level_stays_at_one_level(dtype: type[np.generic], level: int) -> None:
    """There is no range to stretch."""
    data = file_of(Image.fromarray(np.full((4, 4), level, dtype)), "TIFF")
    assert len(np.unique(upright(data))) == 1


def test_floats_that_are_not_finite_become_black_or_the_nearest_level() -> None:
    """Depth maps mark unknown pixels with them."""
    values = np.array([[np.nan, -np.inf, 0.0, 0.5, 1.0, np.inf]], np.float32)
    grey = upright(file_of(Image.fromarray(values), "TIFF"))[0, :, 0]
    assert grey.tolist() == [0, 0, 0, 128, 255, 255]
    unknown = Image.fromarray(np.full((2, 2), np.nan, np.float32))
    assert upright(file_of(unknown, "TIFF")).max() == 0


def test_the_jpeg_round_trip_equals_that_of_the_original_demo() -> None:
    """The demo saves the upright picture at full size with Pillow's defaults and reads it back."""
    stored = landscape().transpose(Transpose.ROTATE_90)
    picture = decode(file_of(stored, "PNG", exif=exif(6)), jpeg_round_trip=True)
    expected = Image.open(io.BytesIO(file_of(landscape(), "JPEG")))
    assert np.array_equal(np.asarray(picture.upright), np.asarray(expected))
    assert picture.pixels == decode(file_of(expected, "PNG")).pixels
    assert picture.pixels != decode(file_of(landscape(), "PNG")).pixels


def test_a_picture_too_long_for_jpeg_is_rejected_with_a_message() -> None:
    """It can be decoded, but not encoded as JPEG."""
    data = file_of(Image.new("L", (65_501, 1)), "PNG")
    assert decode(data).width == 65_501
    with pytest.raises(InvalidImage, match="65500 pixels"):
        decode(data, jpeg_round_trip=True)


@pytest.mark.parametrize(
    "bomb",
    [
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 10_000_000)),
        chunk(b"iCCP", b"Profile\0\0" + zlib.compress(b"a" * 10_000_000)),
        chunk(b"iTXt", b"Text\0\1\0\0\0" + zlib.compress(b"a" * 10_000_000)),
    ],
)
def test_a_text_that_unpacks_to_megabytes_is_ignored(bomb: bytes) -> None:
    """The decoder never unpacks it: the picture is valid, and browsers show it."""
    assert upright(png(1, 1, 8, 0, b"\0\0", bomb)).tolist() == [[[0, 0, 0]]]
