"""Reads the names of pictures from folders, patterns, lists and tables, one by one."""

import csv
import glob
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kosmos2_client.batch.names import NameSet
from kosmos2_client.errors import Kosmos2ClientError
from kosmos2_client.folders import pictures_in
from kosmos2_client.run_file import read_lines

PATH_COLUMN = "path"


class InvalidSource(Kosmos2ClientError):
    """A source of pictures does not exist, has no picture, or lacks the column of paths."""


class NameSource(Protocol):
    """Pictures to run: `Sources`, or those in another place."""

    @property
    def root(self) -> str | Path:
        """The folder, or its URI, to which names are relative."""

    def names(self, done: NameSet) -> Iterator[str]:
        """Yield the name of each picture once; see `Sources.names`."""


@dataclass(frozen=True)
class Sources:
    """Pictures to run. Iterating reads the names again from the disk, since none are kept.

    Attributes:
        sources: folders, picture files, patterns such as `photos/**/*.jpg`, and lists of paths:
            text (one per line), JSONL, CSV or Parquet.
        root: names are relative to it, and so are the paths in lists.
        path_column: the column of paths in JSONL, CSV and Parquet.
        only_errors_of: a run file; only its pictures with errors are run.
    """

    sources: Sequence[str]
    root: Path
    path_column: str = PATH_COLUMN
    only_errors_of: Path | None = None

    def names(self, done: NameSet) -> Iterator[str]:
        """Yield the name of each picture once: its path relative to the root.

        Args:
            done: names to omit; every name that is yielded is added, since a second set would
                double the memory.

        Raises:
            InvalidSource: a source does not exist, has no picture, or lacks the column of paths.
            OSError: a source cannot be read.
        """
        root = os.path.abspath(self.root)
        prefix, here = os.path.join(root, ""), os.getcwd()
        for path in self._paths():
            base = root if isinstance(path, str) else here  # the paths of lists are text
            full = os.path.normpath(os.path.join(base, path))
            is_inside = full.startswith(prefix)
            relative = full[len(prefix) :] if is_inside else os.path.relpath(full, root)
            name = relative.replace(os.sep, "/")
            if done.add(name):
                yield name

    def _paths(self) -> Iterator[str | os.PathLike[str]]:
        if self.only_errors_of is not None:
            yield from (line.path for line in read_lines(self.only_errors_of) if line.error)
            return
        for source in self.sources:
            yield from _paths_of(source, self.path_column)


def root_of(sources: Sequence[str]) -> Path:
    """Return the default root: the folder, if it is the only source, else the current folder."""
    is_one_folder = len(sources) == 1 and Path(sources[0]).is_dir()
    return Path(sources[0]) if is_one_folder else Path()


def _paths_of(source: str, path_column: str) -> Iterator[str | os.PathLike[str]]:
    """Yield `Path` for files that were found, and text for paths in a list."""
    path = Path(source)
    if path.is_dir():
        yield from _at_least_one(pictures_in(path), source)
    elif path.is_file():
        reader = _READERS.get(path.suffix.lower())
        yield from [path] if reader is None else _read_list(reader, path, path_column)
    elif glob.has_magic(source):
        found = glob.iglob(source, recursive=True)
        files = (Path(match) for match in found if os.path.isfile(match))
        yield from _at_least_one(files, source)
    else:
        raise InvalidSource(f"{source}: no such file or folder")


def _at_least_one(paths: Iterator[Path], source: str) -> Iterator[Path]:
    """Yield the paths; raise `InvalidSource` without any, which is probably a typing mistake."""
    first = next(paths, None)
    if first is None:
        raise InvalidSource(f"{source}: no pictures found")
    yield first
    yield from paths


def _read_list(reader: "_Reader", path: Path, path_column: str) -> Iterator[str]:
    """Yield the paths in a list.

    Raises:
        InvalidSource: it is not UTF-8, or an entry cannot be the path of a file.
    """
    try:
        yield from checked_paths(reader(path, path_column), str(path), path_column)
    except UnicodeDecodeError:
        raise InvalidSource(f"{path}: must be UTF-8") from None
    except csv.Error as error:
        raise InvalidSource(f"{path}: {error}") from None


def checked_paths(entries: Iterable[object], source: str, path_column: str) -> Iterator[str]:
    """Yield the entries of a list.

    Raises:
        InvalidSource: an entry cannot be the path of a file; the message starts with `source`.
    """
    for number, name in enumerate(entries, start=1):
        if not isinstance(name, str):
            raise InvalidSource(f"{source}, entry {number}: no text in column {path_column!r}")
        if not _can_be_path(name):
            raise InvalidSource(f"{source}, entry {number}: no path, or the list is not UTF-8")
        yield name


def _can_be_path(name: str) -> bool:
    r"""Return whether a file can have this name.

    >>> _can_be_path("a.jpg"), _can_be_path("a\0.jpg"), _can_be_path("\ud800.jpg")
    (True, False, False)
    """
    try:
        return b"\0" not in name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False


def _read_text(path: Path, _: str) -> Iterator[str]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        yield from (line.strip() for line in file if line.strip())


def _read_jsonl(path: Path, path_column: str) -> Iterator[str]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            try:
                name = json.loads(line)[path_column]
            except (ValueError, KeyError, TypeError):
                name = None
            if not isinstance(name, str):
                raise InvalidSource(f"{path}, line {number}: no text in column {path_column!r}")
            yield name


def _read_csv(path: Path, path_column: str) -> Iterator[str | None]:
    """Yield the column; a row that is too short has `None`."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if path_column not in (rows.fieldnames or ()):
            raise InvalidSource(f"{path}: no column {path_column!r}")
        yield from (row[path_column] for row in rows)


def _read_parquet(path: Path, path_column: str) -> Iterator[object]:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError:
        message = f"{path}: Parquet needs pip install 'kosmos2-client[parquet]'"
        raise InvalidSource(message) from None
    try:
        with parquet.ParquetFile(path) as file:
            if path_column not in file.schema_arrow.names:
                raise InvalidSource(f"{path}: no column {path_column!r}")
            for batch in file.iter_batches(columns=[path_column]):
                yield from batch.column(0).to_pylist()
    except ArrowInvalid as error:
        raise InvalidSource(f"{path}: {error}") from None


_Reader = Callable[[Path, str], Iterator[object]]
_READERS: Mapping[str, _Reader] = {
    ".txt": _read_text,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
