"""Records passes at start-up and replays them as CUDA graphs, so that no kernel waits for Python.

A graph has fixed shapes, so each pass is rounded up to one of a few shapes: additional rows are
slots that no sequence holds, and positions beyond a row's length are masked. Rounding also works on
the CPU, where tests replay lists of operators instead of CUDA graphs.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Generic, Protocol, TypeVar

import torch

from app.engine.decode import PassShape
from app.engine.drafts import MAX_ROWS
from app.errors import StartupError
from app.settings import MAX_NGRAM_SIZE, MAX_SLOTS
from app.telemetry.logs import get_logger

_ROWS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, MAX_SLOTS)
_LENGTHS = (128, 192, 256, 384, 512, 768, 1024, 1536, 2048)  # tokens; every prompt has more than 64
_PICTURES = (1, 2, 4, 8, 16, 32, 64)

Shape = TypeVar("Shape", bound=Hashable)


class Recording(Protocol):
    """A recorded pass that can run again on the same memory."""

    def replay(self) -> None:
        """Run the recorded pass."""


Record = Callable[[Callable[[], None]], Recording]


class CudaRecorder:
    """Records passes as CUDA graphs, which all share the memory of the largest one."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, run: Callable[[], None]) -> Recording:
        """Run a pass once, then record it."""
        # Libraries initialize themselves in the first run, which a graph cannot record.
        run()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            run()
        return graph


class RoundedPass(Generic[Shape]):
    """Runs a pass in one of a few shapes, and replays its recording if there is one.

    Args:
        run: the pass; its inputs and outputs keep their addresses.
        shapes: all shapes that `round_up` returns for requests, the largest first.
        round_up: returns the shape to run for a required shape.
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
        """Return a pass that runs in exactly the required shape."""
        return cls(run, (), lambda shape: shape)

    @property
    def num_recorded(self) -> int:
        """Number of recorded shapes."""
        return len(self._recordings)

    def __call__(self, shape: Shape) -> None:
        """Run the pass in the rounded shape."""
        rounded = self._round_up(shape)
        recording = self._recordings.get(rounded)
        if recording is None:
            self._run(rounded)
        else:
            recording.replay()

    @torch.inference_mode()
    def record(self, record: Record) -> bool:
        """Record every shape; return false if memory ran out, and keep the shapes recorded so far.

        Raises:
            StartupError: a pass cannot be recorded.
        """
        for shape in self.shapes:
            try:
                self._recordings[shape] = record(partial(self._run, shape))
            except torch.OutOfMemoryError:
                get_logger().warning(
                    "no memory to record a pass",
                    shape=str(shape),
                    exc_info=True,
                )
                return False
            except RuntimeError as error:
                # torch does not clean up after a failed recording: later calls in this process
                # would fail, so it must not serve.
                raise StartupError(
                    f"the pass {shape} cannot be recorded: {error}. "
                    "Set KOSMOS2_RECORDINGS=off to start without recordings and decode slower"
                ) from error
        return True


@dataclass(frozen=True)
class Buckets:
    """The numbers of rows and the lengths that decode passes are rounded up to.

    Attributes:
        rows: in ascending order, up to the number of slots.
        lengths: in tokens, in ascending order, up to the length of a slot.
    """

    rows: tuple[int, ...]
    lengths: tuple[int, ...]

    @classmethod
    def up_to(cls, num_rows: int, length: int) -> "Buckets":
        """Return buckets that grow by at most a factor of two, up to the largest sizes.

        >>> Buckets.up_to(20, 300)
        Buckets(rows=(1, 2, 4, 8, 16, 20), lengths=(128, 192, 256, 300))
        """
        return cls(_up_to(_ROWS, num_rows), _up_to(_LENGTHS, length))

    def round_up(self, shape: PassShape) -> PassShape:
        """Return the smallest bucket that covers `shape`.

        >>> rounded = Buckets.up_to(24, 512).round_up(PassShape(2, 3, 130, 0, False))
        >>> rounded.first_row, rounded.num_rows, rounded.length, rounded.max_ngram_size
        (0, 8, 192, 8)
        """
        # A row with a draft spends its time on launches, not on attention: one length suffices.
        lengths = self.lengths[-1:] if shape.has_drafts else self.lengths
        return PassShape(
            first_row=0,
            num_rows=_round_up(self.rows, shape.first_row + shape.num_rows),
            length=_round_up(lengths, shape.length),
            # A checkpoint may set a larger n-gram size than requests can; its pass is not recorded.
            max_ngram_size=max(shape.max_ngram_size, MAX_NGRAM_SIZE),
            is_sampled=shape.is_sampled,
            has_drafts=shape.has_drafts,
        )

    def shapes(self) -> Iterator[PassShape]:
        """Yield all shapes that `round_up` returns for requests, the largest first."""
        sizes = product(reversed(self.rows), reversed(self.lengths), (True, False))
        for rows, length, is_sampled in sizes:
            shape = PassShape(0, rows, length, MAX_NGRAM_SIZE, is_sampled)
            if length == self.lengths[-1] and rows <= MAX_ROWS:
                yield replace(shape, has_drafts=True)
            yield shape


@dataclass(frozen=True)
class PictureBuckets:
    """The numbers of pictures that picture passes are rounded up to, ascending."""

    pictures: tuple[int, ...]

    @classmethod
    def up_to(cls, max_pictures: int) -> "PictureBuckets":
        """Return buckets of powers of two, and the largest size.

        >>> PictureBuckets.up_to(16).round_up(5)
        8
        """
        return cls(_up_to(_PICTURES, max_pictures))

    def round_up(self, num_pictures: int) -> int:
        """Return the smallest bucket that holds `num_pictures`."""
        return _round_up(self.pictures, num_pictures)

    def shapes(self) -> Iterator[int]:
        """Yield all numbers that `round_up` returns, the largest first."""
        return reversed(self.pictures)


def _up_to(sizes: Iterable[int], largest: int) -> tuple[int, ...]:
    return (*(size for size in sizes if size < largest), largest)


def _round_up(sizes: Iterable[int], needed: int) -> int:
    return next(size for size in sizes if size >= needed)
