"""Files that are too large, damaged or no picture are rejected with a message."""

import pytest

from app.errors import ImageTooLarge, InvalidImage, UnsupportedImageFormat
from app.pictures.decode import Picture, decode_picture
from harness.formats import FILES, file_of, landscape
from harness.png_chunks import png

# Pillow warns about damaged metadata and large headers; the tests below cover these files.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

MAX_PIXELS = 1_000_000


def decode(data: bytes) -> Picture:
    return decode_picture(data, max_pixels=MAX_PIXELS)


@pytest.mark.parametrize("name", FILES)
def test_the_pixel_limit_is_checked_from_the_header(name: str) -> None:
    """Width times height may equal the limit; nothing is decoded for the check."""
    assert decode_picture(FILES[name], max_pixels=2400).width == 60
    with pytest.raises(ImageTooLarge, match=r"0\.002399 million pixels"):
        decode_picture(FILES[name], max_pixels=2399)


def test_a_large_picture_is_rejected_before_its_data_are_read() -> None:
    """The file is cut short, but the error is about its size."""
    header_only = png(2000, 2000, 8, 2, b"")
    with pytest.raises(ImageTooLarge):
        decode(header_only)


@pytest.mark.parametrize("side", [10_000, 20_000, 2**31 - 1])
def test_a_decompression_bomb_is_too_large(side: int) -> None:
    """Pillow's own warning and error are converted."""
    with pytest.raises(ImageTooLarge, match="more than 1 million pixels"):
        decode(png(side, side, 8, 0, b""))


@pytest.mark.filterwarnings("error:::PIL")
def test_a_warning_raised_as_an_error_becomes_an_answer() -> None:
    """Operators may run Python with `-W error`."""
    with pytest.raises(ImageTooLarge):
        decode(png(10_000, 10_000, 8, 0, b""))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [0.1, 0.4])
def test_a_picture_cut_short_is_invalid(name: str, kept: float) -> None:
    """A decoded half of a picture would lead to a wrong answer."""
    data = FILES[name]
    with pytest.raises(InvalidImage):
        decode(data[: int(len(data) * kept)])


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"hello", b"<html></html>", b"\0\0\0\x18ftypmp42" + bytes(99), bytes(1000), b"P5"],
)
def test_bytes_that_are_not_a_picture_are_invalid(data: bytes) -> None:
    """Videos are included."""
    with pytest.raises(
        InvalidImage, match="accepted formats are JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF and HEIC"
    ):
        decode(data)


def isobmff(brand: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1miaf"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (file_of(landscape(), "JPEG2000"), "JPEG 2000"),
        (file_of(landscape(), "JPEG2000", no_jp2=True), "JPEG 2000"),
        (file_of(landscape(), "ICO"), "ICO"),
        (file_of(landscape(), "PPM"), "Netpbm"),
        (file_of(landscape(), "PDF"), "PDF"),
        (file_of(landscape(), "EPS"), "PostScript"),
        (file_of(landscape(), "DDS"), "DDS"),
        (file_of(landscape(), "QOI"), "QOI"),
        (b"8BPS\0\1" + bytes(20), "PSD"),
        (b"\xff\x0a" + bytes(20), "JPEG XL"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<?xml version='1.0'?>\n<!-- drawn --><svg></svg>", "SVG"),
    ],
)
def test_a_known_format_that_is_not_accepted_is_named(data: bytes, name: str) -> None:
    """Phones send HEIC files named as JPEG."""
    accepted = "accepted formats are JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF and HEIC"
    with pytest.raises(UnsupportedImageFormat, match=f"^{name} is not accepted; {accepted}$"):
        decode(data)
