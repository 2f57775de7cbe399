"""BMP files with run lengths or bit fields, complete and damaged."""

import struct

import numpy as np
import pytest

from app.errors import ImageTooLarge, InvalidImage
from app.pictures.decode import decode_picture
from harness.bmp_files import bmp_files
from harness.scenery import HEIGHT, WIDTH

FILES = {name: data for name, data, _ in bmp_files() if "run lengths" in name}
BIT_FIELDS = next(data for name, data, _ in bmp_files() if "masks=10-bit" in name)
COMPLETE = [name for name in FILES if "moves" not in name]


def pixels(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(decode_picture(data, max_pixels=10**6).upright)


def with_codes(codes: bytes) -> bytes:
    """Return a file of the landscape's size with other run lengths of 8-bit indices."""
    data = FILES["BMP run lengths, pairs bits=8"]
    (start,) = struct.unpack_from("<I", data, 10)
    return data[:start] + codes


@pytest.mark.parametrize("name", COMPLETE)
@pytest.mark.parametrize("missing", [1, 2, 3, 4])
def test_run_lengths_may_lack_the_end_marker(name: str, missing: int) -> None:
    """The end marker and the last end of a row have two bytes each; no pixel is missing."""
    assert np.array_equal(pixels(FILES[name][:-missing]), pixels(FILES[name]))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [0.6, 0.9, 0.97])
def test_run_lengths_that_are_cut_short_are_invalid(name: str, kept: float) -> None:
    """The last rows would have the first colour of the palette."""
    data = FILES[name]
    (start,) = struct.unpack_from("<I", data, 10)
    with pytest.raises(InvalidImage, match="cut short"):
        pixels(data[: start + int((len(data) - start) * kept)])


def test_indices_may_have_two_bits() -> None:
    """Pillow and most programs refuse them; Windows CE wrote such files."""
    colours = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
    palette = b"".join(bytes([blue, green, red, 0]) for red, green, blue in colours)
    header = struct.pack("<IiiHHIIiiII", 40, 5, 1, 1, 2, 0, 0, 0, 0, 4, 0)
    rows = bytes([0b00_01_10_11, 0b01_00_00_00, 0, 0])
    start = 14 + len(header) + len(palette)
    data = struct.pack("<2sIII", b"BM", start + len(rows), 0, start) + header + palette + rows
    assert pixels(data).tolist() == [[list(colours[index]) for index in (0, 1, 2, 3, 1)]]


@pytest.mark.parametrize("move", [b"\xff\0", b"\0\xff"])
def test_a_move_out_of_the_picture_is_invalid(move: bytes) -> None:
    """Its pixels would wrap around into other rows."""
    with pytest.raises(InvalidImage, match="damaged"):
        pixels(with_codes(b"\0\2" + move + b"\0\1"))


def test_a_run_that_is_longer_than_its_row_is_cut_at_the_edge() -> None:
    """It does not continue in the next row."""
    upright = pixels(with_codes(b"\xff\5\0\0\2\7\0\1"))
    assert len({tuple(pixel) for pixel in upright[-1].tolist()}) == 1
    assert (upright[-2, 2:] == upright[0, 0]).all()
    assert (upright[-2, :2] != upright[0, 0]).any()


def test_bit_fields_may_begin_with_the_top_row() -> None:
    width, height, start = WIDTH * 4, HEIGHT, struct.unpack_from("<I", BIT_FIELDS, 10)[0]
    rows = [BIT_FIELDS[start + n * width : start + (n + 1) * width] for n in range(height)]
    header = BIT_FIELDS[:22] + struct.pack("<i", -height) + BIT_FIELDS[26:start]
    assert np.array_equal(pixels(header + b"".join(rows[::-1])), pixels(BIT_FIELDS))


def test_bit_fields_may_have_one_pixel() -> None:
    one = BIT_FIELDS[:18] + struct.pack("<ii", 1, 1) + BIT_FIELDS[26:]
    assert pixels(one).tolist() == pixels(BIT_FIELDS)[-1:, :1].tolist()


@pytest.mark.parametrize("num_missing", [1, 4 * HEIGHT])
def test_bit_fields_that_are_cut_short_are_invalid(num_missing: int) -> None:
    """Without a pixel per row, narrower rows would still be a picture."""
    with pytest.raises(InvalidImage, match="cut short"):
        pixels(BIT_FIELDS[:-num_missing])


def test_the_last_row_of_indices_may_lack_its_padding() -> None:
    """A row of 37 bytes is stored in 40."""
    data = next(data for name, data, _ in bmp_files() if "bits=8 header=40 top-down" in name)
    assert np.array_equal(pixels(data[:-3]), pixels(data))
    with pytest.raises(InvalidImage, match="cut short"):
        pixels(data[:-4])


def test_the_pixel_limit_counts_before_run_lengths_are_read() -> None:
    """A few bytes can declare any size."""
    data = bytearray(with_codes(b"\0\1"))
    data[18:26] = struct.pack("<ii", 50_000, 50_000)
    with pytest.raises(ImageTooLarge):
        pixels(bytes(data))
