"""An engine that fails on certain requests and has a short watchdog allowance.

The seed of a request selects its fault, which occurs at its sixth token, or the memory that it
needs in each pass. The short allowance makes tests of the watchdog take seconds.
"""

import os
import signal
from collections.abc import Callable
from types import MappingProxyType

import torch

from app.engine import process
from app.engine.choices import ChosenToken
from app.engine.runner import Runner
from app.engine.sequence import Sequence

# Seeds that no ordinary request in a test has.
DIE, HANG, RAISE = 1_000_001, 1_000_002, 1_000_003
ALLOWANCE_S = 6.0
# Not the first token, so that a replay has to continue an answer.
FAULTY_TOKEN = 5

LARGE, TOO_LARGE = 1_000_011, 1_000_012
# A few LARGE rows together exceed the limit that a test sets; one TOO_LARGE row does alone.
BYTES_PER_ROW = MappingProxyType({LARGE: 2**30, TOO_LARGE: 2**40})


def die() -> None:
    """Die as when the system kills a process that uses too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def hang() -> None:
    """Hang as a kernel that never returns."""
    # `pause` returns after every signal with a handler.
    while True:
        signal.pause()


def fail() -> None:
    """Raise an unexpected error."""
    raise RuntimeError("planted")


FAULTS = MappingProxyType[int, Callable[[], None]]({DIE: die, HANG: hang, RAISE: fail})


class FaultyRunner(Runner):
    """A runner whose passes fail if certain requests take part."""

    def prefill(self, sequences: list[Sequence]) -> list[ChosenToken]:
        """Run the pass, unless a fault is due."""
        self._allocate_memory(sequences)
        self._inject_fault(sequences)
        return super().prefill(sequences)

    def decode(self, sequences: list[Sequence]) -> list[ChosenToken]:
        """Run the pass, unless a fault is due."""
        self._allocate_memory(sequences)
        self._inject_fault(sequences)
        return super().decode(sequences)

    def _allocate_memory(self, sequences: list[Sequence]) -> None:
        """Allocate the memory that the rows need."""
        # The memory is not written to, so it counts against the limit but is not used.
        needed = sum(BYTES_PER_ROW.get(s.request.sampling.seed, 0) for s in sequences)
        torch.empty(needed, dtype=torch.uint8)

    def _inject_fault(self, sequences: list[Sequence]) -> None:
        for sequence in sequences:
            fault = FAULTS.get(sequence.request.sampling.seed)
            if fault is not None and len(sequence.new_token_ids) >= FAULTY_TOKEN:
                fault()


if __name__ == "__main__":
    process.main(FaultyRunner, ALLOWANCE_S)
