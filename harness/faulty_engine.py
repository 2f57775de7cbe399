"""An engine that fails on the requests that ask for it, and is impatient with itself.

A request asks by its seed; its fault comes with its sixth token, its need of memory with each pass.
The watchdog's allowance is shorter than usual, so that a test of it takes seconds.
"""

import os
import signal
from collections.abc import Callable
from types import MappingProxyType

import torch

from app.engine import process
from app.engine.runner import ChosenToken, Runner
from app.engine.sequence import Sequence

DIE, HANG, RAISE = 1_000_001, 1_000_002, 1_000_003
ALLOWANCE_S = 6.0
FAULTY_TOKEN = 5

LARGE, TOO_LARGE = 1_000_011, 1_000_012
BYTES_PER_ROW = MappingProxyType({LARGE: 2**30, TOO_LARGE: 2**40})


def die() -> None:
    """As the system ends a process that takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def hang() -> None:
    """As a kernel that never returns."""
    while True:
        signal.pause()


def fail() -> None:
    """As a library that meets what it did not expect."""
    raise RuntimeError("planted")


FAULTS = MappingProxyType[int, Callable[[], None]]({DIE: die, HANG: hang, RAISE: fail})


class FaultyRunner(Runner):
    """A runner whose passes fail with certain requests among them."""

    def prefill(self, sequences: list[Sequence]) -> list[ChosenToken]:
        """As usual, or not at all."""
        self._take_memory(sequences)
        self._fail_as_asked(sequences)
        return super().prefill(sequences)

    def decode(self, sequences: list[Sequence]) -> list[ChosenToken]:
        """As usual, or not at all."""
        self._take_memory(sequences)
        self._fail_as_asked(sequences)
        return super().decode(sequences)

    def _take_memory(self, sequences: list[Sequence]) -> None:
        """Ask the system for what the rows need; untouched, it is taken from the limit alone."""
        needed = sum(BYTES_PER_ROW.get(s.request.sampling.seed, 0) for s in sequences)
        torch.empty(needed, dtype=torch.uint8)

    def _fail_as_asked(self, sequences: list[Sequence]) -> None:
        for sequence in sequences:
            fault = FAULTS.get(sequence.request.sampling.seed)
            if fault is not None and len(sequence.new_token_ids) >= FAULTY_TOKEN:
                fault()


if __name__ == "__main__":
    process.main(FaultyRunner, ALLOWANCE_S)
