"""Reads stored tensors into allocated memory, piece by piece, in the order of the file.

Files are read, not mapped: the pages of a mapped file count as memory of this process, and the
system fetches them in the order of access instead of the order on the disk.
"""

import mmap
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from app.checkpoint.files import StoredTensor
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
    """A stored tensor and the memory to read it into.

    Attributes:
        target: contiguous, with as many elements; dtype and device may differ from the stored ones.
    """

    stored: StoredTensor
    target: Tensor


@dataclass(frozen=True)
class _Piece:
    """A part of a tensor that one thread reads; `target` is one-dimensional."""

    file: Path
    offset: int
    dtype: torch.dtype
    target: Tensor


class TensorReader:
    """Reads tensors with several threads, whose buffers it keeps until the end of its context.

    A new buffer costs more than a conversion: the system clears each of its pages.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(NUM_READERS, "reader")
        self._reader = _Reader()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._threads.shutdown(cancel_futures=True)

    def read(self, placements: Iterable[Placement], on_progress: Callable[[int], None]) -> None:
        """Read every tensor into its target and convert it to the target's dtype.

        Args:
            on_progress: called in the calling thread, with the number of bytes that a piece filled.

        Raises:
            CheckpointError: a file became shorter, or a tensor has an unsupported dtype.
        """
        ordered = sorted(
            placements, key=lambda placement: (placement.stored.file, placement.stored.offset)
        )
        pieces = [piece for placement in ordered for piece in _pieces(placement)]
        for num_bytes in self._threads.map(self._reader.read, pieces):
            on_progress(num_bytes)


def _pieces(placement: Placement) -> Iterator[_Piece]:
    stored = placement.stored
    if stored.dtype not in _DTYPES:
        raise CheckpointError(
            f"{stored.file}: weights of dtype {stored.dtype} are not supported, "
            f"only {', '.join(_DTYPES)}"
        )
    dtype = _DTYPES[stored.dtype]
    parts = torch.split(placement.target.view(-1), PIECE_BYTES // dtype.itemsize)
    for number, part in enumerate(parts):
        yield _Piece(stored.file, stored.offset + number * PIECE_BYTES, dtype, part)


class _Reader(threading.local):
    """Reads pieces one after the other in one thread, through one buffer per thread."""

    def __init__(self) -> None:
        self._buffer: Tensor | None = None

    def read(self, piece: _Piece) -> int:
        """Read one piece, without a buffer if no conversion is needed; return the bytes filled."""
        target = piece.target
        if target.dtype == piece.dtype and target.device.type == "cpu":
            read_bytes(piece.file, piece.offset, target)
        else:
            staged = self._staged(len(target) * piece.dtype.itemsize, target.is_cuda)
            staged = staged.view(piece.dtype)
            read_bytes(piece.file, piece.offset, staged)
            target.copy_(staged.to(target.device))  # the device converts faster than this thread
        return int(target.nbytes)

    def _staged(self, num_bytes: int, is_pinned: bool) -> Tensor:
        if self._buffer is None:
            # Mapped memory returns to the system; the C library would keep what a thread freed.
            memory = torch.frombuffer(mmap.mmap(-1, PIECE_BYTES), dtype=torch.uint8)
            self._buffer = memory.pin_memory() if is_pinned else memory
        return self._buffer[:num_bytes]


def read_bytes(file: Path, offset: int, memory: Tensor) -> None:
    """Fill the memory of a contiguous tensor from a file.

    Raises:
        CheckpointError: the file is too short.
    """
    missing = memory.view(torch.uint8).numpy().data
    # Each open file has its own read-ahead, so the threads do not disturb each other.
    with file.open("rb", buffering=0) as stream:
        stream.seek(offset)
        while missing:
            num_bytes = stream.readinto(missing)
            if not num_bytes:
                raise CheckpointError(
                    f"{file}: became shorter while it was read; restart with a complete file"
                )
            missing = missing[num_bytes:]
