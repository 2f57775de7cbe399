"""How much memory a process has taken at its highest, and files as if nobody had read them."""

import os
import resource
import sys
import time
from collections.abc import Iterable
from pathlib import Path

# What Linux counts in kilobytes, macOS counts in bytes.
_RESIDENT_UNIT = 1 if sys.platform == "darwin" else 1024
_PIECE_BYTES = 2**24


def peak_resident_bytes() -> int:
    """The most that was resident in this process so far, mapped files included.

    Linux is asked for the memory's own mark: `getrusage` tells a child the peak of the process
    that started it where that is higher.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        return _kilobytes(status.read_text(), "VmHWM") * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RESIDENT_UNIT


def _kilobytes(status: str, name: str) -> int:
    (line,) = (line for line in status.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


def forget_files(files: Iterable[Path]) -> None:
    """Take files out of the system's cache, so that the next reader goes to the disk.

    Without effect where the system has no `posix_fadvise` (macOS), and on what is mapped elsewhere.
    """
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def seconds_to_read(files: Iterable[Path]) -> float:
    """How long it takes to read files once, from beginning to end."""
    piece, began = bytearray(_PIECE_BYTES), time.perf_counter()
    for file in files:
        with file.open("rb", buffering=0) as stream:
            while stream.readinto(piece):
                pass
    return time.perf_counter() - began
