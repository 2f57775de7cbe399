"""Options of the commands, checked before a checkpoint trains or answers for minutes."""

import argparse
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from app.errors import StartupError


def positive(text: str) -> int:
    """Return the value of an option that counts something."""
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def device(text: str) -> str:
    """Return the name of a device that can be used."""
    try:
        torch.ones(1, device=text).item()
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        reason = str(error).partition("\n")[0]
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used: {reason}") from None
    return text


def check_output(file: Path) -> None:
    """Create the folder of a file.

    Raises:
        OSError: the file cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """End the process with one line if the checkpoint or a file cannot be used."""
    try:
        yield
    except (StartupError, OSError) as error:
        sys.exit(str(error).partition("\n")[0])
