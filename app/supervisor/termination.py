"""Lets SIGTERM and SIGHUP end a command by an exception, so that it cleans up after itself."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)  # SIGHUP: the terminal was closed


def exit_on_signals() -> None:
    """Let the signals raise `SystemExit` from now on, except those that are ignored (`nohup`)."""
    for number in ENDING_SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, exit_for)


def exit_for(number: int, _frame: FrameType | None) -> None:
    """Raise `SystemExit` with the code by which a shell reports a process that a signal ended."""
    sys.exit(128 + number)


def run_until_signal(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as `asyncio.run` does, and cancel it on a signal as that does on Ctrl-C.

    An exception raised by a handler could end a step of the event loop in the middle, and with it
    the wait for a child.

    Raises:
        SystemExit: after the end of the coroutine that a signal cancelled.
    """
    received: list[int] = []

    async def cancelled_by_signals() -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker

        def cancel(number: int) -> None:
            received.append(number)
            task.cancel()

        for number in ENDING_SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, cancel, number)
        return await main

    try:
        return asyncio.run(cancelled_by_signals())
    except asyncio.CancelledError:
        sys.exit(128 + received[0])
