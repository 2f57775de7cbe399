"""Damages files as a fuzzer does. The seed fixes the damage, so that findings can be repeated."""

import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Literal

_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
"""Lengths, counts and sizes at which arithmetic often fails."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG_MARKER = re.compile(rb"(?=\xff[\xc0-\xfe])")
_GIF_BLOCK = re.compile(rb"(?=[!,;])")
_PART = re.compile(rb"(?=\r\n)|(?=[{}\[\],:&;])")


def mutants(data: bytes, count: int, seed: str) -> Iterator[bytes]:
    """Yield damaged copies of a file, always the same ones for a seed."""
    source = random.Random(seed)
    for _ in range(count):
        mutated = data
        # Mostly one damage: with several, the first one hides the others from the decoder.
        for _ in range(source.choice([1, 1, 1, 2, 3, 6])):
            mutated = source.choice(_DAMAGES)(mutated, source)
        # Three in ten keep wrong checksums, which decoders must check.
        if mutated.startswith(_PNG) and source.random() < 0.7:
            mutated = _with_valid_checksums(mutated)
        yield mutated


def pieces(data: bytes) -> list[bytes]:
    """Return the chunks, segments, blocks, entries or lines of a file; joined, they equal it."""
    parts = _pieces_of_format(data)
    # Too few pieces: the format has no structure that is known here.
    return parts if len(parts) > 3 else [data[at : at + 16] for at in range(0, len(data), 16)]


def _pieces_of_format(data: bytes) -> list[bytes]:
    if data.startswith(_PNG):
        return [_PNG, *_chunks(data[8:], ">I4s", 4)]
    if data.startswith(b"RIFF"):
        return [data[:12], *_chunks(data[12:], "<4xI", 0)]
    if data[:4] in (b"II*\0", b"II+\0", b"MM\0*", b"MM\0+"):
        return _entries(data)
    if data.startswith(b"\xff\xd8"):
        return _JPEG_MARKER.split(data)
    return (_GIF_BLOCK if data.startswith(b"GIF") else _PART).split(data)


def _chunks(data: bytes, header: str, trailer: int) -> Iterator[bytes]:
    while data:
        length = struct.unpack_from(header, data)[0] if len(data) >= 8 else 0
        # RIFF, which has no trailer, pads odd chunks.
        end = 8 + length + length % 2 * (trailer == 0) + trailer
        yield data[:end]
        data = data[end:]


def _entries(data: bytes) -> list[bytes]:
    """Return a TIFF with its first directory split into entries."""
    is_big = b"+" in data[2:4]
    order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"
    # Where the offset of the directory is, the bytes before its entries, and those of an entry.
    pointer, head, size = (slice(8, 16), 8, 20) if is_big else (slice(4, 8), 2, 12)
    start = int.from_bytes(data[pointer], order)
    cuts = range(start + head, len(data), size)
    parts = [data[:start], data[start : start + head], *(data[cut : cut + size] for cut in cuts)]
    return [part for part in parts if part]


def _with_valid_checksums(data: bytes) -> bytes:
    """Return the PNG with valid checksums, so that decoders do not reject it for them."""
    chunks = [
        chunk[:-4] + struct.pack(">I", zlib.crc32(chunk[4:-4])) if len(chunk) >= 12 else chunk
        for chunk in _chunks(data[8:], ">I4s", 4)
    ]
    return _PNG + b"".join(chunks)


def _random_offset(data: bytes, source: random.Random) -> int:
    """Return a random offset, more often near the start, where files have their headers."""
    return int(len(data) * source.random() ** 2)


def _flip_bits(data: bytes, source: random.Random) -> bytes:
    mutated = bytearray(data)
    for _ in range(source.choice([1, 1, 2, 8, 64]) if mutated else 0):
        mutated[_random_offset(data, source)] ^= 1 << source.randrange(8)
    return bytes(mutated)


def _cut(data: bytes, source: random.Random) -> bytes:
    return data[: source.randrange(len(data) + 1)]


def _overwrite(data: bytes, source: random.Random) -> bytes:
    start, length = _random_offset(data, source), source.choice([1, 2, 4, 8, 30])
    filling = source.choice([bytes(length), b"\xff" * length, source.randbytes(length)])
    return data[:start] + filling + data[start + length :]


def _drop(data: bytes, source: random.Random) -> bytes:
    start = _random_offset(data, source)
    return data[:start] + data[start + source.choice([1, 2, 4, 30, 300]) :]


def _double(data: bytes, source: random.Random) -> bytes:
    start, length = _random_offset(data, source), source.choice([1, 4, 12, 300])
    return data[:start] + data[start : start + length] * source.choice([2, 2, 50]) + data[start:]


def _edit_number(data: bytes, source: random.Random) -> bytes:
    """Overwrite bytes with a number that decoders often handle wrongly."""
    size, order = source.choice([1, 2, 2, 4, 4, 8]), source.choice(["<", ">"])
    number = source.choice([*_NUMBERS, len(data), len(data) * 3]) % 2 ** (8 * size)
    packed = struct.pack(order + {1: "B", 2: "H", 4: "I", 8: "Q"}[size], number)
    start = _random_offset(data, source)
    return data[:start] + packed + data[start + size :]


def _double_piece(data: bytes, source: random.Random) -> bytes:
    parts = pieces(data) or [b""]
    index = source.randrange(len(parts))
    parts[index:index] = [parts[index]] * source.choice([1, 1, 2, 20])
    return b"".join(parts)


def _drop_piece(data: bytes, source: random.Random) -> bytes:
    parts = pieces(data) or [b""]
    del parts[source.randrange(len(parts))]
    return b"".join(parts)


def _shuffle_pieces(data: bytes, source: random.Random) -> bytes:
    first, *others = pieces(data) or [b""]
    source.shuffle(others)
    return first + b"".join(others)


def _swap_pieces(data: bytes, source: random.Random) -> bytes:
    parts = pieces(data) or [b""]
    one, other = source.randrange(len(parts)), source.randrange(len(parts))
    parts[one], parts[other] = parts[other], parts[one]
    return b"".join(parts)


_DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip_bits,
    _cut,
    _overwrite,
    _drop,
    _double,
    _edit_number,
    _edit_number,
    _double_piece,
    _drop_piece,
    _shuffle_pieces,
    _swap_pieces,
)
