"""Types of the options of commands, which report what is wrong before anything is measured."""

from argparse import ArgumentTypeError
from pathlib import Path


def num_scenes(text: str) -> int:
    """Return a number of at least 1."""
    number = int(text)
    if number < 1:
        raise ArgumentTypeError("must be at least 1")
    return number


def checkpoint(text: str) -> Path:
    """Return the folder of a checkpoint."""
    folder = Path(text)
    if not (folder / "config.json").is_file():
        raise ArgumentTypeError(f"{text}: no folder with a checkpoint")
    return folder


def new_file(text: str) -> Path:
    """Return the path of a file to write, whose folder must exist."""
    file = Path(text)
    if file.is_dir() or not file.parent.is_dir():
        raise ArgumentTypeError(f"{text}: must be a file in an existing folder")
    return file
