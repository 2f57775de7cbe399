"""The passes of a CUDA device, recorded at start-up and replayed: no kernel waits for Python.

A graph has fixed sizes, so passes are rounded up to the next of a few: rows beyond those in use are
slots that nobody holds, places beyond a row's length are masked. On the CPU the very same rounding
can be had without graphs, which is how it is tested where there is no CUDA device.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import torch

from app.engine.decode import PassShape

SHORTEST = 128  # tokens
BANS = (0, 3, 8)  # none, upstream's, and the largest that a request may ask for

RunStep = Callable[[PassShape], None]


@dataclass(frozen=True)
class Buckets:
    """The sizes that passes are rounded up to.

    Attributes:
        rows: ascending; the last is the number of slots.
        lengths: ascending; the last is the length of a slot.
    """

    rows: tuple[int, ...]
    lengths: tuple[int, ...]

    @classmethod
    def up_to(cls, num_rows: int, length: int) -> "Buckets":
        """Powers of two, and the largest itself.

        >>> Buckets.up_to(24, 512)
        Buckets(rows=(1, 2, 4, 8, 16, 24), lengths=(128, 256, 512))
        """
        return cls(tuple(_doubling(1, num_rows)), tuple(_doubling(SHORTEST, length)))

    def round_up(self, size: PassShape) -> PassShape:
        """The smallest size kept that does the work of `size`.

        >>> Buckets.up_to(24, 512).round_up(PassShape(2, 3, 130, 0, False))
        PassShape(first_row=0, num_rows=8, length=256, max_ngram_size=0, is_sampled=False)
        """
        last = size.first_row + size.num_rows
        return PassShape(
            first_row=0,
            num_rows=next(rows for rows in self.rows if rows >= last),
            length=next(length for length in self.lengths if length >= size.length),
            max_ngram_size=max(size.max_ngram_size, BANS[-1])
            if size.is_sampled
            else _round_up(size.max_ngram_size),
            is_sampled=size.is_sampled,
        )

    def sizes(self) -> Iterator[PassShape]:
        """All that `round_up` gives for requests, the largest first."""
        kinds = ((BANS[-1], True), *((max_ngram_size, False) for max_ngram_size in reversed(BANS)))
        for rows, length in product(reversed(self.rows), reversed(self.lengths)):
            for max_ngram_size, is_sampled in kinds:
                yield PassShape(0, rows, length, max_ngram_size, is_sampled)


def _doubling(first: int, last: int) -> Iterator[int]:
    size = first
    while size < last:
        yield size
        size *= 2
    yield last


def _round_up(max_ngram_size: int) -> int:
    # A checkpoint may ask for more than requests can: that pass is right, but not recorded.
    return next((size for size in BANS if size >= max_ngram_size), max_ngram_size)


class RoundedSteps:
    """Runs passes of few sizes, recorded where there is a CUDA device.

    Args:
        step: the pass; what it reads and writes stays where it is.
        buckets: its sizes.
    """

    def __init__(self, step: RunStep, buckets: Buckets) -> None:
        self._step, self._buckets = step, buckets
        self._graphs: dict[PassShape, torch.cuda.CUDAGraph] = {}

    def __call__(self, size: PassShape) -> None:
        """Run a pass of at least that size."""
        rounded = self._buckets.round_up(size)
        graph = self._graphs.get(rounded)
        if graph is None:
            self._step(rounded)
        else:
            graph.replay()

    def record(self) -> bool:
        """Record every size; false where that cannot be done: then passes run without recordings.

        Answers are the same, only later: no reason to serve nobody.
        """
        try:
            self._record_all()
        except RuntimeError:  # of CUDA or of PyTorch; they have no narrower class in common
            self._graphs.clear()
            return False
        return True

    @torch.inference_mode()
    def _record_all(self) -> None:
        # The largest comes first, and the others live in its memory.
        pool = torch.cuda.graph_pool_handle()
        for size in self._buckets.sizes():
            # Run once before: libraries set themselves up, which cannot be recorded.
            self._step(size)
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool):
                self._step(size)
            self._graphs[size] = graph
