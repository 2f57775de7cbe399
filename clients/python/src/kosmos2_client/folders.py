"""Finds the picture files of a folder, without keeping their names."""

import os
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jpeg", ".jpg"),
    *(".png", ".tif", ".tiff", ".webp"),
)
"""File names that end like this, in upper or lower case, are pictures."""


def is_picture(name: str) -> bool:
    """Return whether a file name is that of a picture.

    >>> is_picture("IMG_0001.JPG"), is_picture("notes.txt"), is_picture("._IMG_0001.JPG")
    (True, False, False)
    """
    # macOS adds files like `._IMG_0001.JPG` to foreign disks, which are no pictures.
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def pictures_in(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the pictures in a folder and its subfolders, in the order of the file system.

    Links to folders are not followed, since they may form a circle.

    Raises:
        OSError: a folder cannot be read.
    """
    folders = [os.fspath(folder)]
    while folders:
        # A sorted list of the names would need more memory per picture than everything else.
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif is_picture(entry.name):
                    yield Path(entry.path)
