"""Waits for actions of other processes."""

from collections.abc import Callable
from time import monotonic, sleep

PAUSE_S = 0.02


def eventually(condition: Callable[[], bool], timeout_s: float = 60) -> bool:
    """Return whether a condition becomes true in time.

    The function sleeps between checks, so that the other process gets the processor.

    >>> eventually(lambda: True)
    True
    >>> eventually(lambda: False, timeout_s=0.05)
    False
    """
    deadline = monotonic() + timeout_s
    while not condition():
        if monotonic() > deadline:
            return False
        sleep(PAUSE_S)
    return True
