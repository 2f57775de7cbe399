"""An event loop whose time passes only when all wait: what takes an hour is tested at once."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _ImpatientSelector(selectors.DefaultSelector):
    """Never waits: it moves the clock on by as long as it was asked to."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "all tasks wait for something that never comes"
            self.now += max(timeout, 0)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """See `run_in_virtual_time`."""

    def __init__(self) -> None:
        self._impatient = _ImpatientSelector()
        super().__init__(self._impatient)

    def time(self) -> float:
        """The virtual time, seconds from 0."""
        return self._impatient.now

    def compute(self, seconds: float) -> None:
        """Let time pass in which nobody else can run."""
        self._impatient.now += seconds


def run_in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end as `asyncio.run` does; times are those that would have passed.

    >>> async def sleep_for_an_hour() -> float:
    ...     await asyncio.sleep(3600)
    ...     return asyncio.get_running_loop().time()
    >>> run_in_virtual_time(sleep_for_an_hour())
    3600.0
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
