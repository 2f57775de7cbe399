"""The compressions of TIFF that need no picture library."""

import itertools
import lzma
import zlib
from collections.abc import Callable

NONE, LZW, JPEG, DEFLATE, PACKBITS, LZMA = 1, 5, 7, 8, 32773, 34925
"""TIFF's own numbers."""


def _as_packbits(data: bytes, row_bytes: int) -> bytes:
    """Pack each row separately, in pieces of up to 128 bytes, with runs at its start."""
    packed = bytearray()
    for start in range(0, len(data), row_bytes):
        row = data[start : start + row_bytes]
        for _, run in itertools.groupby(row):
            length = len(list(run))
            byte = row[:1] if length == len(row) else None
            if byte is None:
                break
            # PackBits: 1 − n as a signed byte repeats the next byte n times.
            packed += bytes([257 - length]) + byte if 1 < length <= 128 else b""
            row = row[length:] if 1 < length <= 128 else row
        for start in range(0, len(row), 128):
            piece = row[start : start + 128]
            packed += bytes([len(piece) - 1]) + piece
    return bytes(packed)


def _as_lzw(data: bytes, _: int) -> bytes:
    """Write codes of 9 to 12 bits, highest bit first; clear the table before it is full."""
    clear, end, codes = 256, 257, bytearray()
    buffer = width = 0
    table: dict[bytes, int] = {}

    def emit(code: int, size: int) -> None:
        nonlocal buffer, width
        buffer, width = (buffer << size) | code, width + size
        while width >= 8:
            width -= 8
            codes.append((buffer >> width) & 255)
        buffer &= (1 << width) - 1

    def size() -> int:
        return max(9, (len(table) + 258).bit_length())

    emit(clear, 9)
    word = b""
    for value in data:
        longer = word + bytes([value])
        if len(longer) == 1 or longer in table:
            word = longer
            continue
        emit(table[word] if len(word) > 1 else word[0], size())
        table[longer] = 258 + len(table)
        word = bytes([value])
        # With the 258 fixed codes the table is nearly full: 12 bits can name 4096.
        if len(table) >= 3836:
            emit(table[word] if len(word) > 1 else word[0], size())
            emit(clear, size())
            table, word = {}, b""
    if word:
        emit(table[word] if len(word) > 1 else word[0], size())
        # The reader adds an entry after every code, which may widen the last one.
        table[word + b"!"] = 0
    emit(end, size())
    if width:
        codes.append((buffer << (8 - width)) & 255)
    return bytes(codes)


COMPRESSORS: dict[int, Callable[[bytes, int], bytes]] = {
    NONE: lambda data, _: data,
    PACKBITS: _as_packbits,
    LZW: _as_lzw,
    DEFLATE: lambda data, _: zlib.compress(data),
    LZMA: lambda data, _: lzma.compress(data),
}
"""Functions of the data of a strip or tile and the bytes of one of its rows."""
