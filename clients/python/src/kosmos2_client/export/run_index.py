"""Where the outcome of each picture is in one or more run files.

A run file is in the order of completion, and may have hundreds of gigabytes in all. The index keeps
a position per picture, so that exports read the lines in the order of the paths, and two exports of
the same pictures are equal.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from kosmos2_client.errors import InvalidAnswer, InvalidRunFile
from kosmos2_client.results import Detections, Result
from kosmos2_client.run_file import Line

_OFFSET_BITS = 48
"""A position is one integer, which takes less memory than a pair: file number, then offset."""


@dataclass
class RunIndex:
    """The pictures of run files; of each path only the last answer counts, or its last error.

    Attributes:
        classes: every class that was requested or found.
        least_threshold: the lowest confidence that an answer may contain, 0…1.
    """

    files: Sequence[Path]
    classes: set[str] = field(default_factory=set)
    least_threshold: float = 1.0
    _answers: dict[str, int] = field(default_factory=dict)
    _errors: dict[str, int] = field(default_factory=dict)

    @property
    def answered(self) -> list[str]:
        """The paths of the pictures with an answer, sorted."""
        return sorted(self._answers)

    @property
    def failed(self) -> list[str]:
        """The paths of the pictures without an answer, sorted."""
        return sorted(self._errors)

    def lines(self, paths: Sequence[str]) -> Iterator[Line]:
        """Yield the outcomes of these pictures, in this order."""
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("rb")) for path in self.files]
            for path in paths:
                position = self._answers[path] if path in self._answers else self._errors[path]
                yield _read_line(files, position)

    def results(self, paths: Sequence[str]) -> Iterator[tuple[str, Result]]:
        """Yield the path and the answer of these pictures, which all have one, in this order."""
        for line in self.lines(paths):
            result = line.result
            if result is not None:
                yield line.path, result

    def add(self, position: int, line: Line) -> None:
        """Add a line; an answer replaces what was known about its picture before."""
        result = line.result
        if result is None:
            if line.path not in self._answers:
                self._errors[line.path] = position
            return
        self._errors.pop(line.path, None)
        self._answers[line.path] = position
        self.classes.update(found.class_name for found in result.predictions)
        if isinstance(result, Detections):
            self.classes.update(one.class_name for one in result.classes)
            self.least_threshold = min(self.least_threshold, result.threshold)
        else:
            self.least_threshold = 0.0


def read_index(files: Sequence[Path]) -> RunIndex:
    """Read the positions of all lines; a partial last line is omitted, as a running batch has one.

    Raises:
        OSError: a file cannot be read.
        InvalidRunFile: with the number of the invalid line.
    """
    index = RunIndex(files)
    for file_number, path in enumerate(files):
        offset = 0
        with path.open("rb") as file:
            for number, text in enumerate(file, start=1):
                if text.endswith(b"\n"):
                    try:
                        index.add(file_number << _OFFSET_BITS | offset, Line.from_json(text))
                    except (InvalidRunFile, InvalidAnswer) as error:
                        raise InvalidRunFile(f"{path}, line {number}: {error}") from None
                offset += len(text)
    return index


def _read_line(files: Sequence[BinaryIO], position: int) -> Line:
    file = files[position >> _OFFSET_BITS]
    file.seek(position & ((1 << _OFFSET_BITS) - 1))
    return Line.from_json(file.readline())
