"""What an HTTP process asks of a picture process, and what it is answered.

Each message is one MessagePack frame behind its length. Nothing is pickled: what comes out of a
process that opens strangers' files is data, never code.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import IO

import msgspec

from app.errors import ImageTooLarge, InvalidImage, RequestError, UnsupportedImageFormat
from app.pictures.marks import BoxFormat, Mark, MediaType

LENGTH_BYTES = 8
"""In front of each frame, big-endian."""


class Decode(msgspec.Struct, frozen=True, tag=True):
    """Decode a file and squash it to what the model sees.

    Attributes:
        jpeg_round_trip: whether the picture passes through JPEG first.
    """

    image: bytes
    jpeg_round_trip: bool


class Draw(msgspec.Struct, frozen=True, tag=True):
    """Decode a file and draw on it.

    Attributes:
        media_type: of the file to make.
        box_format: the unit of the marks' boxes.
    """

    image: bytes
    marks: tuple[Mark, ...]
    media_type: MediaType
    box_format: BoxFormat


class Describe(msgspec.Struct, frozen=True, tag=True):
    """Describe the process itself."""


class Abilities(msgspec.Struct, frozen=True, tag=True):
    """What a picture process can do.

    Attributes:
        heic: whether it reads HEIC.
        landlock: whether the kernel keeps every path from it.
        seccomp: whether the kernel refuses it to open files and sockets and to start programs.
    """

    heic: bool = False
    landlock: bool = False
    seccomp: bool = False


class DecodedPicture(msgspec.Struct, frozen=True, tag=True):
    """A picture as the model sees it.

    Attributes:
        width: of the upright picture, in pixels.
        exif_orientation: what the file said, 1…8.
        pixels: 224×224×3 bytes, RGB, row by row.
    """

    width: int
    height: int
    exif_orientation: int
    pixels: bytes


class DrawnPicture(msgspec.Struct, frozen=True, tag=True):
    """A picture's file with everything drawn on it."""

    file: bytes


class Refusal(msgspec.Struct, frozen=True, tag=True):
    """The picture is at fault.

    Attributes:
        kind: the name of one of `REFUSALS`.
    """

    kind: str
    message: str


REFUSALS: Mapping[str, type[RequestError]] = MappingProxyType(
    {kind.__name__: kind for kind in (ImageTooLarge, InvalidImage, UnsupportedImageFormat)}
)
"""What can be said of a picture, by name."""

Job = Decode | Draw | Describe
Result = DecodedPicture | DrawnPicture | Abilities | Refusal

_ENCODER = msgspec.msgpack.Encoder()
_JOBS = msgspec.msgpack.Decoder(Job)
_RESULTS = msgspec.msgpack.Decoder(Result)


def to_frame(message: Job | Result) -> bytes:
    """A message as it is sent, its length in front."""
    encoded = _ENCODER.encode(message)
    return len(encoded).to_bytes(LENGTH_BYTES) + encoded


def read_job(stream: IO[bytes]) -> Job | None:
    """The next job; waits for it. None when the sender is gone, be it in the middle of one."""
    length = int.from_bytes(stream.read(LENGTH_BYTES))
    encoded = stream.read(length)
    return _JOBS.decode(encoded) if length and len(encoded) == length else None


def read_result(encoded: bytes) -> Result:
    """A result without its length.

    Raises:
        ValueError: it is none.
    """
    result: Result = _RESULTS.decode(encoded)
    return result
