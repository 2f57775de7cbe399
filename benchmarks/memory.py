"""The peak memory of a process, and the eviction of files from the system's cache."""

import os
import resource
import sys
import time
from collections.abc import Iterable
from pathlib import Path

# Linux reports kilobytes, macOS bytes.
_RESIDENT_UNIT = 1 if sys.platform == "darwin" else 1024
_PIECE_BYTES = 2**24


def peak_resident_bytes() -> int:
    """Return the peak resident memory of this process so far, including mapped files."""
    # On Linux, `getrusage` would give a child the peak of its parent if that is higher.
    status = Path("/proc/self/status")
    if status.is_file():
        return _kilobytes(status.read_text(), "VmHWM") * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RESIDENT_UNIT


def _kilobytes(status: str, name: str) -> int:
    (line,) = (line for line in status.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


def evict_files(files: Iterable[Path]) -> None:
    """Evict files from the system's cache, so that the next read uses the disk.

    Has no effect without `posix_fadvise` (macOS), and on files that another process has mapped.
    """
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            # The system only evicts pages that have been written.
            os.fsync(descriptor)
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def seconds_to_read(files: Iterable[Path]) -> float:
    """Return the time of reading files once, from start to end."""
    piece, began = bytearray(_PIECE_BYTES), time.perf_counter()
    for file in files:
        # Unbuffered, because Python would copy every byte once more.
        with file.open("rb", buffering=0) as stream:
            while stream.readinto(piece):
                pass
    return time.perf_counter() - began
