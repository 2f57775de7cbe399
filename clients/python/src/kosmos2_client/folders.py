"""Finds the picture files of a folder, without keeping their names."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jpeg", ".jpg"),
    *(".png", ".tif", ".tiff", ".webp"),
)
"""File names that end like this, in upper or lower case, are pictures."""


def is_picture(path: str) -> bool:
    """Return whether a path below a folder is that of a picture that is not hidden.

    >>> is_picture("IMG_0001.JPG"), is_picture("notes.txt")
    (True, False)
    >>> is_picture("._IMG_0001.JPG"), is_picture(".thumbnails/IMG_0001.JPG")
    (False, False)
    """
    # macOS adds files like `._IMG_0001.JPG` to foreign disks, which are no pictures.
    return path.lower().endswith(SUFFIXES) and "/." not in f"/{path}"


def pictures_in(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the pictures in a folder and its subfolders, in the order of the file system.

    Links to folders are not followed, since they may form a circle. Hidden folders, pipes and
    devices are left out. A subfolder that cannot be read is yielded like a picture: reading it
    raises the error, and the pictures elsewhere are not lost.

    Raises:
        OSError: the folder cannot be read.
    """
    folders = [os.fspath(folder)]
    while folders:
        path = folders.pop()
        try:
            # A sorted list of names would need more memory per picture than everything else.
            entries = os.scandir(path)
        except OSError:
            if path == os.fspath(folder):
                raise
            yield Path(path)
            continue
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders += [] if entry.name.startswith(".") else [entry.path]
                elif is_picture(entry.name) and _has_end(entry):
                    yield Path(entry.path)


def _has_end(entry: "os.DirEntry[str]") -> bool:
    """Return whether reading an entry ends; that of a pipe or a device might not."""
    try:
        # Known without a system call, except for links.
        return entry.is_file() or stat.S_ISDIR(entry.stat().st_mode)
    except OSError:  # a broken link: reading it raises the same error
        return True
