"""Writes files and folders that appear only when they are complete."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from kosmos2_client.errors import InvalidInput

_SUFFIX = ".partial"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path whose file replaces `path` after the block, unless an exception ends it.

    Raises:
        InvalidInput: `path` is a folder or a device, such as `/dev/null`, which root could replace,
            or its folder does not exist.
    """
    path = path.resolve()  # a link stays a link
    if path.exists() and not path.is_file():
        raise InvalidInput(f"{path}: is not a file; name a new file")
    if not path.parent.is_dir():
        raise InvalidInput(f"{path.parent}: no such folder")
    partial = path.with_name(path.name + _SUFFIX)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_file(path: Path, newline: str | None = "\n") -> Iterator[TextIO]:
    """Yield a text file that replaces `path`; see `replacing`.

    Args:
        newline: as for `open`.
    """
    # Names of files may hold bytes that are no UTF-8, which Python represents as surrogates.
    with (
        replacing(path) as partial,
        partial.open("w", encoding="utf-8", errors="surrogateescape", newline=newline) as file,
    ):
        yield file


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a folder that becomes `path` at the end of the block, unless an exception ends it.

    Raises:
        InvalidInput: `path` exists and is not an empty folder: old labels would mix with new ones.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InvalidInput(f"{path}: exists; name a new folder")
    partial = path.with_name(path.name + _SUFFIX)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if path.exists():
            path.rmdir()
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_array(file: TextIO, items: Iterable[Any]) -> int:
    """Write a JSON array with one item per line, and return the number of items."""
    number = 0
    file.write("[")
    for item in items:
        file.write(",\n" if number else "\n")
        file.write(json.dumps(item))
        number += 1
    file.write("\n]" if number else "]")
    return number
