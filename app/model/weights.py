"""Reads stored tensors into memory that waits for them: in the file's order, piece by piece.

Files are read rather than mapped: the pages of a mapped file count as this process's memory, and
are fetched in the order in which they are touched rather than the one in which they lie.
"""

import mmap
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from app.checkpoint import StoredTensor
from app.errors import CheckpointError

PIECE_BYTES = 2**24
NUM_READERS = 4

# The names are those of the safetensors format.
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


@dataclass(frozen=True)
class Placement:
    """A stored tensor, and the memory that is to hold it.

    Attributes:
        stored: where it lies.
        target: contiguous, of as many elements; its dtype and its device may be others.
    """

    stored: StoredTensor
    target: Tensor


@dataclass(frozen=True)
class _Piece:
    """A part of a tensor that one reader reads: `target` is flat."""

    file: Path
    offset: int
    dtype: torch.dtype
    target: Tensor


def read_tensors(placements: Iterable[Placement], on_progress: Callable[[int], None]) -> None:
    """Read every tensor into its memory, converted to that memory's dtype.

    Args:
        placements: what goes where.
        on_progress: called in this thread with the bytes of memory that each piece has filled.

    Raises:
        CheckpointError: a file is shorter than it was, or a dtype that is not of weights.
    """
    ordered = sorted(placements, key=lambda each: (each.stored.file, each.stored.offset))
    pieces = [piece for placement in ordered for piece in _pieces(placement)]
    reader = _Reader()
    with ThreadPoolExecutor(NUM_READERS) as threads:
        for num_bytes in threads.map(reader.read, pieces):
            on_progress(num_bytes)


def _pieces(placement: Placement) -> Iterator[_Piece]:
    stored = placement.stored
    if stored.dtype not in _DTYPES:
        raise CheckpointError(f"{stored.file}: weights of dtype {stored.dtype}; none are served")
    dtype = _DTYPES[stored.dtype]
    parts = torch.split(placement.target.view(-1), PIECE_BYTES // dtype.itemsize)
    for number, part in enumerate(parts):
        yield _Piece(stored.file, stored.offset + number * PIECE_BYTES, dtype, part)


class _Reader(threading.local):
    """Reads pieces one after the other, in one thread, by way of one buffer.

    The buffer is the system's own memory: what C's library gives a thread, it does not give back.
    """

    def __init__(self) -> None:
        self._buffer: Tensor | None = None

    def read(self, piece: _Piece) -> int:
        """Read one piece, straight into its place where nothing has to be converted."""
        target = piece.target
        if target.dtype == piece.dtype and target.device.type == "cpu":
            _read_bytes(piece, target)
        else:
            staged = self._staged(len(target) * piece.dtype.itemsize, target.is_cuda)
            staged = staged.view(piece.dtype)
            _read_bytes(piece, staged)
            target.copy_(staged.to(target.device))  # a device converts faster than this thread
        return int(target.nbytes)

    def _staged(self, num_bytes: int, is_pinned: bool) -> Tensor:
        if self._buffer is None:
            memory = torch.frombuffer(mmap.mmap(-1, PIECE_BYTES), dtype=torch.uint8)
            self._buffer = memory.pin_memory() if is_pinned else memory
        return self._buffer[:num_bytes]


def _read_bytes(piece: _Piece, memory: Tensor) -> None:
    """Fill the memory. A file opened anew has a read-ahead of its own, so readers do not clash."""
    left = memory.view(torch.uint8).numpy().data
    with piece.file.open("rb", buffering=0) as stream:
        stream.seek(piece.offset)
        while left:
            num_bytes = stream.readinto(left)
            if not num_bytes:
                raise CheckpointError(f"{piece.file}: became shorter while it was read")
            left = left[num_bytes:]
