"""Reads text files of users, states what is wrong with them, and shortens lists for people."""

from collections.abc import Sequence
from pathlib import Path

from kosmos2_client.errors import InvalidInput

_SHOWN_NAMES = 10


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file without a byte-order mark.

    Raises:
        OSError: the file cannot be read.
        InvalidInput: it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput(f"{path}: must be UTF-8") from None


def reason_of(error: OSError) -> str:
    """Return what failed in one line, without the number of the error.

    >>> reason_of(FileNotFoundError(2, "No such file or directory", "run.jsonl"))
    'run.jsonl: no such file or directory'
    """
    if error.filename is None or not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror[:1].lower()}{error.strerror[1:]}"


def mistake_of(error: Exception) -> str:
    """Return what is wrong with a document, from the error that reading it raised.

    >>> mistake_of(KeyError("images")), mistake_of(ValueError("annotation 7 has no box"))
    ("'images' is missing", 'annotation 7 has no box')
    """
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def listed(names: Sequence[str]) -> str:
    """Return names with commas in between; of many, only the first ones.

    >>> listed(["a", "b"]), listed([str(number) for number in range(12)])
    ('a, b', '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 others')
    """
    shown = ", ".join(names[:_SHOWN_NAMES])
    num_others = len(names) - _SHOWN_NAMES
    return f"{shown} and {num_others} others" if num_others > 0 else shown
