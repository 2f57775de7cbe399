"""Pictures that Pillow alone reads wrongly, rejects although valid, or rejects without a name."""

import io
import re
import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.errors import InvalidImage, UnsupportedImageFormat
from app.pictures.decode import Picture, decode_picture
from harness.bombs import jpeg_of_many_segments
from harness.formats import FILES, exif, file_of, landscape
from harness.png_chunks import chunk
from harness.tiffs import BLACK_IS_ZERO, CFA, FLOAT, RGB, SIGNED, TiffKind, tiff_file

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

JPEGS = ["JPEG", "progressive JPEG", "CMYK JPEG"]
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def decode(data: bytes) -> Picture:
    return decode_picture(data, max_pixels=10**6)


def pixels(data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(decode(data).upright)


def pages(*directories: dict[int, int]) -> bytes:
    """Return a TIFF with one tag per page, in addition to those of a grey picture of 16×16."""
    data = b"II*\0" + struct.pack("<I", 8 + 256) + bytes(256)
    for number, tags in enumerate(directories):
        grey = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 16, 279: 256}
        entries = sorted((grey | tags).items())
        packed = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
        following = len(data) + 2 + len(packed) + 4 if number + 1 < len(directories) else 0
        data += struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)
    return data


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("missing", [1, 2])
def test_a_jpeg_without_its_end_marker_is_decoded(name: str, missing: int) -> None:
    """Some cameras and proxies omit the marker; no pixel is missing."""
    assert np.array_equal(pixels(FILES[name][:-missing]), pixels(FILES[name]))


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("missing", [6, 20, 200])
def test_a_jpeg_with_missing_data_is_invalid(name: str, missing: int) -> None:
    """Its last rows would be grey."""
    with pytest.raises(InvalidImage, match="cut short"):
        decode(FILES[name][:-missing])


def test_a_progressive_jpeg_cut_between_two_scans_is_invalid() -> None:
    """It has all pixels, but none with full quality. A scan may follow the tables of its codes."""
    data = FILES["progressive JPEG"]
    first = data.index(b"\xff\xda")
    begins = [match.start() for match in re.finditer(rb"\xff[\xc4\xda]", data)]
    places = [place for place in begins if place > first]
    assert len(places) > 9
    for place in places:
        with pytest.raises(InvalidImage):
            decode(data[:place])


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WebP", "TIFF"])
def test_orientation_in_xmp_alone_is_not_applied(name: str) -> None:
    """Browsers ignore it, and they draw the boxes."""
    image = Image.open(io.BytesIO(FILES[name]))
    data = file_of(image, str(image.format), **({} if name == "PNG" else {"xmp": XMP}))
    picture = decode(data)
    assert (picture.width, picture.height, picture.exif_orientation) == (60, 40, 1)


@pytest.mark.parametrize(
    "metadata",
    [
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 3_000_000)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b" " * 3_000_000)),
        chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(3_000_000))),
        chunk(b"tEXt", b"Comment\0text")[:-1] + b"?",
        chunk(b"eXIf", exif(6)[6:])[:-1] + b"?",
    ],
)
def test_a_png_with_damaged_metadata_is_decoded(metadata: bytes) -> None:
    """The metadata unpack to megabytes or have a wrong checksum; the pixels are valid."""
    data = FILES["PNG"]
    assert np.array_equal(pixels(data[:33] + metadata + data[33:]), pixels(data))


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0.2, 0.8], [51, 204]),
        ([0.5, 2.5], [0, 255]),
        ([-1.0, 0.2, 1.0], [0, 153, 255]),
        ([-3.0, -1.0], [0, 255]),
    ],
)
def test_floats_are_stretched_unless_all_are_between_0_and_1(
    values: list[float], shown: list[int]
) -> None:
    data = file_of(Image.fromarray(np.array([values], np.float32)), "TIFF")
    assert pixels(data)[0, :, 0].tolist() == shown


@pytest.mark.parametrize("num_bytes", [1, 5])
def test_a_png_with_bytes_after_its_end_is_decoded(num_bytes: int) -> None:
    """They may be too few for the name of another chunk."""
    assert np.array_equal(pixels(FILES["PNG"] + bytes(num_bytes)), pixels(FILES["PNG"]))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (tiff_file(TiffKind(BLACK_IS_ZERO, 16, extras=(0, 0, 0))), "a TIFF of 4 bands of 16 bits"),
        (tiff_file(TiffKind(RGB, 32, FLOAT)), "a TIFF of 3 bands of 32 bits as floats"),
        (tiff_file(TiffKind(RGB, 16, SIGNED)), "a TIFF of 3 bands of 16 bits signed"),
        (tiff_file(TiffKind(RGB, 8, extras=(0,) * 5)), "a TIFF of 8 bands of 8 bits"),
        (tiff_file(TiffKind(CFA, 16)), "camera raw (DNG)"),
        (pages({50706: 0x0401}), "camera raw (DNG)"),
        (pages({254: 1, 330: 8}), "camera raw (NEF or similar)"),
        (pages({254: 1}, {259: 34713}), "camera raw (NEF)"),
        (pages({254: 1}, {259: 32767}), "camera raw (ARW)"),
        (pages({259: 65535}), "camera raw (PEF)"),
        (b"II*\0\x10\0\0\0CR\2\0" + pages({})[12:], "camera raw (CR2)"),
        (pages({254: 1}), "a TIFF whose only page is a thumbnail"),
        (pages({338: 2}), "a TIFF of 1 band of 8 bits"),  # declares a second band
        (pages({259: 34712}), "a TIFF of 1 band of 8 bits (grey, compressed by scheme 34712)"),
        (pages({259: 50001}), "a TIFF of 1 band of 8 bits (grey, compressed by WebP)"),
        (pages({259: 34927}), "a TIFF of 1 band of 8 bits (grey, compressed by WebP)"),
        (pages({259: 7, 273: 0, 279: 0}), "a sparse TIFF of 1 band of 8 bits (grey, compressed"),
        (FILES["JPEG"].replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"), "a JPEG of 12 bits"),
        (FILES["JPEG"].replace(b"\xff\xc0", b"\xff\xc3"), "lossless JPEG"),
        (b"\0\0\2" + bytes(9) + struct.pack("<HHBB", 4, 4, 24, 0) + bytes(48), "TGA"),
        (b"\0\0\2\0\1\0" + bytes(40), "CUR"),
        (file_of(landscape(), "BMP")[:28] + b"\3\0" + file_of(landscape(), "BMP")[30:], "a BMP"),
    ],
)
def test_a_kind_that_is_not_accepted_is_named(data: bytes, name: str) -> None:
    """Users with satellite or X-ray pictures should not search for damage."""
    with pytest.raises(
        UnsupportedImageFormat, match=f"^{name.replace('(', '[(]').replace(')', '[)]')}"
    ):
        decode(data)


def test_a_thumbnail_before_the_picture_is_skipped() -> None:
    """The tags of its page declare a reduced copy."""
    data = pages({254: 1, 256: 8, 257: 8, 278: 8, 279: 64}, {})
    assert (decode(data).width, decode(data).height) == (16, 16)


@pytest.mark.parametrize("missing", [(0,), (1, 2), (0, 1), (0, 1, 2)])
@pytest.mark.parametrize("compression", [1, 8])
def test_strips_that_are_not_stored_are_zeros(missing: tuple[int, ...], compression: int) -> None:
    """Geographic programs leave out empty parts. The last strip is shorter than the others."""
    kind = TiffKind(BLACK_IS_ZERO, 8, compression=compression)
    upright = pixels(tiff_file(kind)).copy()
    for number in missing:
        upright[16 * number : 16 * (number + 1)] = 0
    assert np.array_equal(pixels(tiff_file(replace(kind, missing=missing))), upright)


def test_a_strip_at_the_start_of_the_file_is_invalid() -> None:
    """The header of the file would become pixels."""
    with pytest.raises(InvalidImage, match="strips or tiles are missing"):
        decode(pages({273: 0}))


def test_a_palette_of_8_bits_is_brightened() -> None:
    """Old programs wrote colours of 0…255 instead of 0…65535."""
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    data = file_of(image, "TIFF")
    entry = struct.pack("<HHI", 320, 3, 768)
    (place,) = struct.unpack_from("<I", data, data.index(entry) + 8)
    levels = np.frombuffer(data, "<u2", 768, place) >> 8
    old = data[:place] + levels.astype("<u2").tobytes() + data[place + 2 * 768 :]
    assert pixels(old)[0, 0].tolist() == [200, 100, 50]


def test_parsing_time_of_many_jpeg_segments_is_linear() -> None:
    """The test uses a JPEG without its end marker."""
    data = jpeg_of_many_segments(b"\xfe", 50_000)[:-2]
    assert decode(data).width == 4
