"""Reads and writes run files: one line of JSON per picture, in the order of completion.

A line is `{"path", "image", "answer", "options"}`, or has `"error": {"code", "detail", "status"}`
instead of `answer`. `path` is first, so that a resuming run can read it without parsing the answer.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from kosmos2_client.errors import InvalidRunFile
from kosmos2_client.results import Image, Result, read_result

_BLOCK_BYTES = 1 << 16
_START = '{"path": '
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class LineError:
    """Why a picture has no answer.

    Attributes:
        code: as in docs/errors.md; `connection_failed` or `unreadable_file` without an answer.
        status: of the HTTP response; `None` without a response.
    """

    code: str
    detail: str
    status: int | None


@dataclass(frozen=True)
class Line:
    """The outcome of one picture: an answer or an error, never both.

    Attributes:
        path: relative to the root of the run, with forward slashes.
        image: size and orientation; `None` if the picture could not be read.
        answer: the whole answer of `POST /v1/detect` or `POST /v1/ground` as JSON.
        options: the fields of the request except the classes; `None` in older files.
    """

    path: str
    image: Image | None = None
    answer: Mapping[str, Any] | None = None
    error: LineError | None = None
    options: Mapping[str, Any] | None = None

    @classmethod
    def of_answer(cls, path: str, answer: Mapping[str, Any]) -> Self:
        """Return the line of a picture that was answered."""
        return cls(path, Image.from_json(answer["image"]), answer)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return a line of a run file.

        Raises:
            InvalidRunFile: it is not one.
        """
        try:
            line = json.loads(text)
            image, error = line.get("image"), line.get("error")
            parsed = cls(
                path=line["path"],
                image=None if image is None else Image.from_json(image),
                answer=line.get("answer"),
                error=None
                if error is None
                else LineError(error["code"], error["detail"], error["status"]),
                options=line.get("options"),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InvalidRunFile("not a line of a run file") from None
        if not isinstance(parsed.path, str) or not isinstance(parsed.answer, dict | None):
            raise InvalidRunFile("not a line of a run file: the path or the answer is invalid")
        if (parsed.answer is None) == (parsed.error is None):
            raise InvalidRunFile(f"{parsed.path}: a line has either an answer or an error")
        return parsed

    def to_json(self) -> str:
        """Return the line without its end, as ASCII: file names may be no valid Unicode."""
        line: dict[str, Any] = {"path": self.path}
        if self.image is not None:
            line["image"] = self.image.to_json()
        if self.answer is not None:
            line["answer"] = self.answer
        if self.error is not None:
            error = self.error
            line["error"] = {"code": error.code, "detail": error.detail, "status": error.status}
        if self.options is not None:
            line["options"] = self.options
        return json.dumps(line, ensure_ascii=True)

    @property
    def result(self) -> Result | None:
        """The typed answer; `None` for an error."""
        return None if self.answer is None else read_result(self.answer)


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the complete lines of a run file.

    Raises:
        OSError: the file cannot be read.
        InvalidRunFile: with the number of the invalid line.
    """
    for number, text in _complete_lines(path):
        try:
            yield Line.from_json(text)
        except InvalidRunFile as error:
            raise InvalidRunFile(f"{path}, line {number}: {error}") from None


def read_paths(path: Path) -> Iterator[str]:
    """Yield the path of each complete line, without parsing the answers.

    Raises:
        OSError: the file cannot be read.
        InvalidRunFile: with the number of the invalid line.
    """
    for number, line in _complete_lines(path):
        try:
            text = line.decode()
            name, _ = _DECODER.raw_decode(text, len(_START)) if text.startswith(_START) else ("", 0)
        except ValueError:
            name = ""
        if not isinstance(name, str) or not name:
            raise InvalidRunFile(f"{path}, line {number}: not a line of a run file")
        yield name


class RunWriter:
    """Appends lines to a run file, each with a single write.

    A process may be killed, or the disk may be full, in the middle of a line. `open_run` then cuts
    off the partial line, so that a file never holds a broken line between complete ones.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def append(self, line: Line) -> None:
        """Append a line.

        Raises:
            OSError: the disk is full, for example; the file is as before.
        """
        data = line.to_json().encode() + b"\n"
        size = os.fstat(self._descriptor).st_size
        try:
            written = os.write(self._descriptor, data)
            while written < len(data):  # the disk is nearly full: the next write reports it
                written += os.write(self._descriptor, data[written:])
        except OSError:
            os.ftruncate(self._descriptor, size)
            raise


@contextmanager
def open_run(path: Path) -> Iterator[RunWriter]:
    """Open a run file for appending, and create it if necessary.

    A partial last line is cut off. On Unix the file is locked, so that only one process writes it.

    Raises:
        InvalidRunFile: the last line has no end and is no part of a line; the file is as before.
        OSError: the file cannot be written, or another process writes it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0))
    try:
        _lock(descriptor, path)
        _cut_partial_line(descriptor, path)
        yield RunWriter(descriptor)
    finally:
        os.close(descriptor)


def _complete_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield numbers, from 1, and lines; the last line is omitted if it has no end."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                yield number, line


def _cut_partial_line(descriptor: int, path: Path) -> None:
    end = _end_of_last_line(descriptor)
    os.lseek(descriptor, end, os.SEEK_SET)
    # A picture passed as `--out` by mistake has no line end at its end either, and must stay whole.
    if not _START.encode().startswith(os.read(descriptor, len(_START))):
        raise InvalidRunFile(f"{path}: not a run file; write to another file")
    if end < os.fstat(descriptor).st_size:
        os.ftruncate(descriptor, end)


def _end_of_last_line(descriptor: int) -> int:
    """Return the number of bytes up to the end of the last complete line."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        os.lseek(descriptor, start, os.SEEK_SET)
        position = os.read(descriptor, end - start).rfind(b"\n")
        if position >= 0:
            return start + position + 1
        end = start
    return 0


def _lock(descriptor: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError(f"{path}: another process writes this file") from None
