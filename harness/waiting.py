"""Waiting for what another process will do."""

from collections.abc import Callable
from time import monotonic


def eventually(condition: Callable[[], bool], timeout_s: float = 60) -> bool:
    """Whether a condition comes true in time; each look at it asks another process."""
    deadline = monotonic() + timeout_s
    while monotonic() < deadline:
        if condition():
            return True
    return condition()
