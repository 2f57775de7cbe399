"""Shows how far loading is: a bar on a terminal, otherwise a line in the log every few seconds."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.telemetry.logs import get_logger

LOG_PERIOD_S = 5.0


@contextmanager
def showing_progress(total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show the progress of the block, which calls the yielded function with each number of bytes.

    At the end of the block, the log has its duration.
    """
    began = time.monotonic()
    if sys.stderr.isatty():
        with _progress_bar(total_bytes) as advance:
            yield advance
    else:
        yield LoggedProgress(total_bytes, time.monotonic).advance
    get_logger().info("weights loaded", took_s=round(time.monotonic() - began, 3))


@contextmanager
def _progress_bar(total_bytes: int) -> Iterator[Callable[[int], None]]:
    # Without a terminal, the engine starts without it.
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("loading"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("weights", total=total_bytes)
        yield lambda num_bytes: progress.advance(task, num_bytes)


class LoggedProgress:
    """Writes a line to the log every few seconds; nothing if loading is faster.

    Args:
        clock: monotonic, seconds.
    """

    def __init__(self, total_bytes: int, clock: Callable[[], float]) -> None:
        self._total_bytes, self._clock = total_bytes, clock
        self._num_bytes = 0
        self._due_at = clock() + LOG_PERIOD_S

    def advance(self, num_bytes: int) -> None:
        """Count bytes that were loaded."""
        self._num_bytes += num_bytes
        if self._clock() >= self._due_at:
            self._due_at = self._clock() + LOG_PERIOD_S
            get_logger().info(
                "loading weights",
                percent=round(100 * self._num_bytes / self._total_bytes),
                of_gb=round(self._total_bytes / 1e9, 2),
            )
