"""Small files that make a decoder use gigabytes or hours."""

import struct
import zlib

from PIL import Image

from harness.formats import file_of
from harness.png_chunks import chunk


def jpeg_of_many_scans(side: int, num_scans: int) -> bytes:
    """Return a progressive JPEG with a repeated last scan: each is a pass over all pixels."""
    plain = file_of(Image.new("RGB", (side, side)), "JPEG", progressive=True)
    last = plain.rindex(b"\xff\xda")
    # The last two bytes are the end marker of the picture.
    return plain[:last] + plain[last:-2] * num_scans + plain[-2:]


def jpeg_of_many_segments(name: bytes, num_segments: int) -> bytes:
    """Return a JPEG with many small segments, which Pillow parses in Python."""
    plain = file_of(Image.new("RGB", (4, 4)), "JPEG")
    # 13: the length itself, two bytes, and the eleven bytes of the content.
    segment = b"\xff" + name + struct.pack(">H", 13) + b"Exif\0\0bytes"
    return plain[:2] + segment * num_segments + plain[2:]


def tiff_of_a_large_tile(side: int) -> bytes:
    """Return a TIFF of 8×8 pixels in a tile of `side` × `side`, all of which must be unpacked."""
    tile = zlib.compress(bytes(side * side), 1)
    # Width, height, bits, deflate, black is 0, the two sides of a tile, its offset, its length.
    tags = {256: 8, 257: 8, 258: 8, 259: 8, 262: 1, 322: side, 323: side, 324: 8, 325: len(tile)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(tile)) + tile + directory


def png_of_many_chunks(num_chunks: int) -> bytes:
    """Return a PNG with many empty chunks before its pixels."""
    plain = file_of(Image.new("RGB", (4, 4)), "PNG")
    # The small first letter marks a chunk that decoders must skip if they do not know it.
    skipped = chunk(b"abCd", b"")
    # A chunk starts with four bytes of length.
    data = plain.index(b"IDAT") - 4
    return plain[:data] + skipped * num_chunks + plain[data:]


def gif_of_a_long_comment(num_bytes: int) -> bytes:
    """Return a GIF with a comment in many parts."""
    plain = file_of(Image.new("P", (4, 4)), "GIF")
    # The header has 13 bytes; `,` starts the picture.
    start = plain.index(b",", 13)
    comment = b"!\xfe" + (b"\xff" + b"a" * 255) * (num_bytes // 256) + b"\0"
    return plain[:start] + comment + plain[start:]


def tiff_of_many_tags(num_tags: int, num_bytes: int) -> bytes:
    """Return a TIFF with many tags that all have the same bytes as their value."""
    tags = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, 1, 8), (278, 4, 1, 8), (279, 4, 1, 64)]
    tags += [(40_000 + number, 1, num_bytes, 8) for number in range(num_tags)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + num_bytes) + bytes(num_bytes) + directory


def tiff_of_many_planes(num_planes: int) -> bytes:
    """Return a grey TIFF of 16×16 pixels with many planes that all have the same bytes."""
    data = b"II*\0" + struct.pack("<I", 8 + 256 + 12 * num_planes) + bytes(256)
    offsets, sizes, extras = len(data), len(data) + 4 * num_planes, len(data) + 8 * num_planes
    data += struct.pack("<I", 8) * num_planes + struct.pack("<I", 256) * num_planes
    data += bytes(4 * num_planes)
    tags = [(256, 1, 16), (257, 1, 16), (258, 1, 8), (259, 1, 1), (262, 1, 1)]
    tags += [(273, num_planes, offsets), (277, 1, num_planes), (278, 1, 16)]
    tags += [(279, num_planes, sizes), (284, 1, 2), (338, num_planes - 1, extras)]
    entries = b"".join(struct.pack("<HHII", tag, 4, count, value) for tag, count, value in tags)
    return data + struct.pack("<H", len(tags)) + entries + bytes(4)


def tiff_of_many_pages(num_pages: int, num_bytes: int) -> bytes:
    """Return a TIFF with many thumbnails that all have the same bytes in a tag."""
    data = bytearray(b"II*\0" + struct.pack("<I", 8 + num_bytes) + bytes(num_bytes))
    for page in range(1, num_pages + 1):
        # 254 marks a reduced copy, which the decoder skips; 700 is XMP.
        entries = struct.pack("<HHII", 254, 4, 1, 1) + struct.pack("<HHII", 700, 1, num_bytes, 8)
        following = len(data) + 2 + len(entries) + 4 if page < num_pages else 0
        data += struct.pack("<H", 2) + entries + struct.pack("<I", following)
    return bytes(data)
