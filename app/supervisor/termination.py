"""Lets SIGTERM end a command by an exception, so that it removes its files and its processes."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

EXIT_TERMINATED = 128 + signal.SIGTERM
"""As a shell reports a process that SIGTERM ended."""


def exit_on_sigterm() -> None:
    """Let SIGTERM raise `SystemExit` from now on."""
    signal.signal(signal.SIGTERM, exit_terminated)


def exit_terminated(_number: int, _frame: FrameType | None) -> None:
    """Raise `SystemExit`, as a handler of SIGTERM."""
    sys.exit(EXIT_TERMINATED)


def run_until_sigterm(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as `asyncio.run` does, and cancel it on SIGTERM as that does on Ctrl-C.

    An exception raised by a handler could end a step of the event loop in the middle, and with it
    the wait for a child.

    Raises:
        SystemExit: after the end of the coroutine that SIGTERM cancelled.
    """

    async def cancelled_by_sigterm() -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await main

    try:
        return asyncio.run(cancelled_by_sigterm())
    except asyncio.CancelledError:
        sys.exit(EXIT_TERMINATED)
