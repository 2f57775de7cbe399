"""PNG files that are put together from their chunks, for what Pillow does not write."""

import struct
import zlib


def png(
    width: int,
    height: int,
    depth: int,
    colour: int,
    rows: bytes,
    *more: bytes,
    is_interlaced: bool = False,
) -> bytes:
    """Return a PNG.

    Args:
        depth: bits per sample.
        colour: colour type of the header, 0 to 6.
        rows: filtered rows, before compression.
        more: chunks between the header and the rows.
    """
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, is_interlaced)
    chunks = [chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*chunks, chunk(b"IEND", b"")])


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk with its length and its checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
