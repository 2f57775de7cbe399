"""Passes recorded at start-up and replayed as CUDA graphs: no kernel waits for Python.

A graph has fixed shapes, so passes are rounded up to the next of a few: rows beyond those in use
are slots that no sequence holds, positions beyond a row's length are masked. The rounding runs on
the CPU as well, and tests replay lists of operators in the place of CUDA graphs.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Generic, Protocol, TypeVar

import torch

from app.engine.decode import PassShape
from app.errors import StartupError
from app.settings import MAX_SLOTS
from app.telemetry.logs import get_logger

LARGEST_BAN = 8  # the largest n-gram that a request may ban
_ROWS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, MAX_SLOTS)
_LENGTHS = (128, 192, 256, 384, 512, 768, 1024, 1536, 2048)  # a prompt has more than 64 tokens
_PICTURES = (1, 2, 4, 8, 16, 32, 64)

Shape = TypeVar("Shape", bound=Hashable)


class Recording(Protocol):
    """A pass that can be run again on the same memory."""

    def replay(self) -> None:
        """Run it."""


Record = Callable[[Callable[[], None]], Recording]


class CudaRecorder:
    """Records passes as CUDA graphs; all share the memory of the largest."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, run: Callable[[], None]) -> Recording:
        """Run a pass once, since libraries set themselves up in a first run, then record it."""
        run()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            run()
        return graph


class RoundedPass(Generic[Shape]):
    """Runs a pass in one of few shapes, by its recording if there is one.

    Args:
        run: the pass; its inputs and outputs keep their addresses.
        shapes: all that `round_up` returns for requests, the largest first.
        round_up: from the shape that is needed to the one that is run.
    """

    def __init__(
        self,
        run: Callable[[Shape], None],
        shapes: Iterable[Shape],
        round_up: Callable[[Shape], Shape],
    ) -> None:
        self.shapes = tuple(shapes)
        self._run, self._round_up = run, round_up
        self._recordings: dict[Shape, Recording] = {}

    @classmethod
    def exact(cls, run: Callable[[Shape], None]) -> "RoundedPass[Shape]":
        """Runs a pass in just the shape that is needed."""
        return cls(run, (), lambda shape: shape)

    @property
    def num_recorded(self) -> int:
        """Shapes that are recorded."""
        return len(self._recordings)

    def __call__(self, shape: Shape) -> None:
        """Run a pass of at least that shape."""
        rounded = self._round_up(shape)
        recording = self._recordings.get(rounded)
        if recording is None:
            self._run(rounded)
        else:
            recording.replay()

    @torch.inference_mode()
    def record(self, record: Record) -> bool:
        """Record every shape; false if memory ran out: the shapes recorded so far are kept.

        Raises:
            StartupError: a pass cannot be recorded. torch does not leave a failed recording
                cleanly: later calls fail in this process, so it must not serve.
        """
        for shape in self.shapes:
            try:
                self._recordings[shape] = record(partial(self._run, shape))
            except torch.OutOfMemoryError:
                get_logger().warning("no memory to record a pass", shape=str(shape), exc_info=True)
                return False
            except RuntimeError as error:
                raise StartupError(
                    f"the pass {shape} cannot be recorded: {error}. "
                    "KOSMOS2_RECORDINGS=off starts without recordings, and decodes slower"
                ) from error
        return True


@dataclass(frozen=True)
class Buckets:
    """The numbers of rows and the lengths that decode passes are rounded up to.

    Attributes:
        rows: ascending; the last is the number of slots.
        lengths: ascending, in tokens; the last is the length of a slot.
    """

    rows: tuple[int, ...]
    lengths: tuple[int, ...]

    @classmethod
    def up_to(cls, num_rows: int, length: int) -> "Buckets":
        """Steps of at most one half, and the largest itself.

        >>> Buckets.up_to(20, 300)
        Buckets(rows=(1, 2, 4, 8, 16, 20), lengths=(128, 192, 256, 300))
        """
        return cls(_up_to(_ROWS, num_rows), _up_to(_LENGTHS, length))

    def round_up(self, shape: PassShape) -> PassShape:
        """The smallest shape kept that does the work of `shape`.

        >>> Buckets.up_to(24, 512).round_up(PassShape(2, 3, 130, 0, False))
        PassShape(first_row=0, num_rows=8, length=192, max_ngram_size=8, is_sampled=False)
        """
        return PassShape(
            first_row=0,
            num_rows=_round_up(self.rows, shape.first_row + shape.num_rows),
            length=_round_up(self.lengths, shape.length),
            # A checkpoint may ask for a larger ban than requests can: that pass is not recorded.
            max_ngram_size=max(shape.max_ngram_size, LARGEST_BAN),
            is_sampled=shape.is_sampled,
        )

    def shapes(self) -> Iterator[PassShape]:
        """All that `round_up` returns for requests, the largest first."""
        for rows, length in product(reversed(self.rows), reversed(self.lengths)):
            for is_sampled in (True, False):
                yield PassShape(0, rows, length, LARGEST_BAN, is_sampled)


@dataclass(frozen=True)
class PictureBuckets:
    """The numbers of pictures that picture passes are rounded up to, ascending."""

    pictures: tuple[int, ...]

    @classmethod
    def up_to(cls, max_pictures: int) -> "PictureBuckets":
        """Powers of two, and the largest itself.

        >>> PictureBuckets.up_to(16).round_up(5)
        8
        """
        return cls(_up_to(_PICTURES, max_pictures))

    def round_up(self, num_pictures: int) -> int:
        """The smallest number kept that is not smaller."""
        return _round_up(self.pictures, num_pictures)

    def shapes(self) -> Iterator[int]:
        """All that `round_up` returns, the largest first."""
        return reversed(self.pictures)


def _up_to(sizes: Iterable[int], largest: int) -> tuple[int, ...]:
    return (*(size for size in sizes if size < largest), largest)


def _round_up(sizes: Iterable[int], needed: int) -> int:
    return next(size for size in sizes if size >= needed)
