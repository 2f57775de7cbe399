"""Everything that callers pass as a picture becomes the bytes of a file."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kosmos2_client import InvalidPicture
from kosmos2_client.pictures import read_picture


def test_paths_bytes_and_open_files_are_sent_unchanged(tmp_path: Path) -> None:
    """The service reads the orientation, and knows more formats than Pillow."""
    path = tmp_path / "picture.heic"
    path.write_bytes(b"the file")
    pictures = [path, str(path), b"the file", bytearray(b"the file"), io.BytesIO(b"the file")]
    assert [read_picture(picture) for picture in pictures] == [b"the file"] * 5


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "F"])
def test_a_pillow_picture_becomes_a_file_with_the_same_pixels(mode: str) -> None:
    image = Image.new("RGB", (4, 3), (200, 30, 40)).convert(mode)
    read = Image.open(io.BytesIO(read_picture(image)))
    assert read.size == (4, 3)
    assert read.convert("RGB").getpixel((1, 1)) == image.convert("RGB").getpixel((1, 1))


def test_a_pillow_picture_keeps_its_16_bits() -> None:
    """Pillow's conversion to 8 bits makes all values above 255 white."""
    values = np.array([[0, 300, 65_535]], np.uint16)
    read = Image.open(io.BytesIO(read_picture(Image.fromarray(values))))
    assert np.array_equal(np.asarray(read), values)


def test_a_pillow_picture_is_not_turned(tmp_path: Path) -> None:
    """Boxes refer to the pixels that the caller has."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 3)).save(tmp_path / "turned.jpg", exif=exif)
    read = Image.open(io.BytesIO(read_picture(Image.open(tmp_path / "turned.jpg"))))
    assert (read.size, read.getexif().get(0x0112)) == ((4, 3), None)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 3), (3, 4, 4)])
def test_an_array_becomes_a_file_with_the_same_pixels(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    read = np.asarray(Image.open(io.BytesIO(read_picture(array))))
    assert np.array_equal(read, array)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (7, "a int is no picture"),
        (io.StringIO("text"), "binary mode"),
        ("http://example.org/a.jpg", "does not load URLs"),
        ("a\0b", "the path is invalid"),
        ("\ud800", "the path is invalid"),
        (np.zeros((2, 2, 7), np.uint8), "cannot be converted"),
        (np.zeros((2, 2), np.uint16), "must have values of the type uint8"),
        (np.ones((2, 2), np.float32), "must have values of the type uint8"),
        (np.zeros((0, 2, 3), np.uint8), "cannot be converted"),
        (Image.new("L", (0, 0)), "cannot be converted"),
    ],
    ids=[
        *(
            "number",
            "text file",
            "URL",
            "zero byte",
            "lone surrogate",
            "seven channels",
            "16 bits",
            "floats",
        ),
        *("array without pixels", "picture without pixels"),
    ],
)
def test_other_objects_are_refused(picture: object, message: str) -> None:
    with pytest.raises(InvalidPicture, match=message):
        read_picture(picture)


def test_a_missing_file_is_the_usual_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "missing.jpg")
