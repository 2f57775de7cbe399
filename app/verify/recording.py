"""The recorded answers of a checkpoint: what `kosmos2 verify` expects of its files and tokens."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec

from app.checkpoint.files import Checkpoint
from app.errors import CheckpointError

RECORDING_NAME = "recorded_answers.json"
"""File next to the weights of a checkpoint with recorded answers of its own."""

PUBLISHED_RECORDING = Path(__file__).parent / "published.json"

Entity = tuple[str | None, tuple[int, int], tuple[tuple[float, ...], ...]]
"""Phrase, span in the text, and boxes as normalised xyxy."""

Natural = Annotated[int, msgspec.Meta(ge=0)]

Logit = tuple[Natural, Natural, float]
"""Step from 0, token id and value."""


@dataclass(frozen=True)
class RecordedAnswer:
    """An answer of the true weights.

    Attributes:
        source: where the answer was published, or the command that recorded it.
        request: fields of `POST /v1/ground` without the picture, as JSON.
        jpeg_round_trip: whether the picture was first encoded and decoded as JPEG.
        new_token_ids: ids after the prompt; `None` if only the text was published.
        logits: some logits of the answer, before any ban.
    """

    name: str
    source: str
    request: Mapping[str, Any]
    jpeg_round_trip: bool
    text: str
    entities: tuple[Entity, ...]
    markup: str
    new_token_ids: tuple[Natural, ...] | None = None
    logits: tuple[Logit, ...] = ()

    @property
    def fields(self) -> dict[str, Any]:
        """Fields of the request, with the option for the round trip."""
        return {**self.request, "jpeg_round_trip": self.jpeg_round_trip}


@dataclass(frozen=True)
class Recording:
    """What is recorded of a checkpoint.

    Attributes:
        model: name of the checkpoint.
        revision: commit on the hub; `None` for a checkpoint that is not from there.
        token_ids: ids of the special tokens by name.
        files: size in bytes and SHA-256 of each known file.
        picture: file name of the picture, in the checkpoint's directory or on the hub.
        picture_sha256: SHA-256 of the picture's file.
        answers: answers about the picture, greedy.
    """

    model: str
    revision: str | None
    num_parameters: int
    num_tensors: int
    token_ids: Mapping[str, int]
    files: Mapping[str, tuple[int, str]]
    picture: str
    picture_sha256: str
    answers: tuple[RecordedAnswer, ...] = field(repr=False)


class _StoredFile(msgspec.Struct):
    bytes: int
    sha256: str


class _StoredPicture(msgspec.Struct):
    file: str
    sha256: str


class _Stored(msgspec.Struct):
    """The content of the file; its types are checked when it is read."""

    model: str
    revision: str | None
    num_parameters: int
    num_tensors: int
    token_ids: dict[str, int]
    files: dict[str, _StoredFile]
    picture: _StoredPicture
    answers: Annotated[tuple[RecordedAnswer, ...], msgspec.Meta(min_length=1)]


def find_recording(checkpoint: Checkpoint) -> Recording:
    """Return the checkpoint's own recording if it has one, otherwise the published model's.

    Raises:
        CheckpointError: the recording is damaged.
    """
    own = checkpoint.directory / RECORDING_NAME
    return read_recording(own if own.is_file() else PUBLISHED_RECORDING)


def read_recording(path: Path) -> Recording:
    """Read a recording.

    Raises:
        CheckpointError: the file is not a recording.
    """
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=_Stored)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a recording: {error}") from None
    return Recording(
        model=stored.model,
        revision=stored.revision,
        num_parameters=stored.num_parameters,
        num_tensors=stored.num_tensors,
        token_ids=stored.token_ids,
        files={name: (file.bytes, file.sha256) for name, file in stored.files.items()},
        picture=stored.picture.file,
        picture_sha256=stored.picture.sha256,
        answers=stored.answers,
    )


def entities_of(lists: Any) -> tuple[Entity, ...]:
    """Return entities that are stored as lists: phrase, span, boxes."""
    return tuple(
        (phrase, (span[0], span[1]), tuple(tuple(box) for box in boxes))
        for phrase, span, boxes in lists
    )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new file, which replaces `path` after the block unless an exception ends it."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(b"")  # an error, if any, before the block
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_recording(path: Path, recording: Recording) -> None:
    """Write a recording as JSON, one answer per line."""
    head = {
        "format": 1,
        "model": recording.model,
        "revision": recording.revision,
        "num_parameters": recording.num_parameters,
        "num_tensors": recording.num_tensors,
        "token_ids": dict(recording.token_ids),
        "files": {n: {"bytes": b, "sha256": h} for n, (b, h) in recording.files.items()},
        "picture": {"file": recording.picture, "sha256": recording.picture_sha256},
    }
    lines = [f" {json.dumps(name)}: {json.dumps(value)}," for name, value in head.items()]
    answers = ",\n".join(f"  {_answer_line(answer)}" for answer in recording.answers)
    text = "\n".join(["{", *lines, ' "answers": [', answers, " ]", "}", ""])
    path.write_text(text, encoding="utf-8")


def _answer_line(answer: RecordedAnswer) -> str:
    names = ("name", "source", "request", "jpeg_round_trip", "text", "entities", "markup")
    fields = {name: getattr(answer, name) for name in (*names, "new_token_ids", "logits")}
    return json.dumps(fields, ensure_ascii=False)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
