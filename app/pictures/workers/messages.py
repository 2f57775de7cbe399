"""The messages between an HTTP process and a picture process.

Each message is one MessagePack frame after its length. Nothing is pickled: the output of a process
that opens untrusted files must be data, never code.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import IO

import msgspec

from app.errors import ImageTooLarge, InvalidImage, RequestError, UnsupportedImageFormat
from app.pictures.marks import BoxFormat, Mark, MediaType
from app.pictures.tiles import Tile

LENGTH_BYTES = 8
"""The length before each frame, big-endian."""

MAX_TILES_PER_JOB = 16
"""Bounds the result of a `Cut` to 2.4 MB. Even 16 tiles that are all as large as a picture of
50 megapixels take 6 s of processor time, so that the limit for decoding applies unchanged."""


class Decode(msgspec.Struct, frozen=True, tag=True):
    """Decode a file and squash it to the model's input size.

    Attributes:
        jpeg_round_trip: whether to encode and decode the picture as JPEG first.
    """

    image: bytes
    jpeg_round_trip: bool


class Cut(msgspec.Struct, frozen=True, tag=True):
    """Decode a file, and squash parts of it to the model's input size.

    Attributes:
        tiles: parts of the upright picture, at most `MAX_TILES_PER_JOB`.
    """

    image: bytes
    tiles: tuple[Tile, ...]


class Draw(msgspec.Struct, frozen=True, tag=True):
    """Decode a file and draw on it.

    Attributes:
        media_type: of the returned file.
        box_format: the unit of the marks' boxes.
    """

    image: bytes
    marks: tuple[Mark, ...]
    media_type: MediaType
    box_format: BoxFormat


class Describe(msgspec.Struct, frozen=True, tag=True):
    """Return the abilities of the process."""


class Abilities(msgspec.Struct, frozen=True, tag=True):
    """What a picture process supports.

    Attributes:
        heic: whether it reads HEIC.
        landlock: whether the kernel denies it every path.
        seccomp: whether the kernel denies it to open files and sockets and to start programs.
    """

    heic: bool = False
    landlock: bool = False
    seccomp: bool = False


class DecodedPicture(msgspec.Struct, frozen=True, tag=True):
    """A picture at the model's input size.

    Attributes:
        width: of the upright picture, in pixels.
        exif_orientation: as stored in the file, 1…8.
        pixels: 224×224×3 bytes, RGB, row by row.
    """

    width: int
    height: int
    exif_orientation: int
    pixels: bytes


class DecodedTiles(msgspec.Struct, frozen=True, tag=True):
    """Tiles at the model's input size, in the order of the job.

    Attributes:
        pixels: per tile, 224×224×3 bytes, RGB, row by row.
    """

    pixels: tuple[bytes, ...]


class DrawnPicture(msgspec.Struct, frozen=True, tag=True):
    """A picture's file with everything drawn on it."""

    file: bytes


class Refusal(msgspec.Struct, frozen=True, tag=True):
    """The picture is invalid or not accepted.

    Attributes:
        kind: a key of `REFUSALS`.
    """

    kind: str
    message: str


REFUSALS: Mapping[str, type[RequestError]] = MappingProxyType(
    {kind.__name__: kind for kind in (ImageTooLarge, InvalidImage, UnsupportedImageFormat)}
)
"""The errors that a picture can cause, by name."""

Job = Decode | Cut | Draw | Describe
Result = DecodedPicture | DecodedTiles | DrawnPicture | Abilities | Refusal

_ENCODER = msgspec.msgpack.Encoder()
_JOBS = msgspec.msgpack.Decoder(Job)
_RESULTS = msgspec.msgpack.Decoder(Result)


def to_frame(message: Job | Result) -> bytes:
    """Return a message with its length before it, ready to send."""
    encoded = _ENCODER.encode(message)
    return len(encoded).to_bytes(LENGTH_BYTES) + encoded


def read_job(stream: IO[bytes]) -> Job | None:
    """Wait for the next job and return it; `None` when the sender has closed the pipe."""
    length = int.from_bytes(stream.read(LENGTH_BYTES))
    encoded = stream.read(length)
    return _JOBS.decode(encoded) if length and len(encoded) == length else None


def read_result(encoded: bytes) -> Result:
    """Return the result in a frame without its length.

    Raises:
        ValueError: the bytes are not a valid result.
    """
    result: Result = _RESULTS.decode(encoded)
    return result
