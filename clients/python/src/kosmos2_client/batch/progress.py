"""Shows the progress of a run: pictures, rate, time left, failures."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

_WINDOW_S = 60.0
_TERMINAL_INTERVAL_S = 0.5
_LOG_INTERVAL_S = 30.0


@dataclass
class Counts:
    """The state of a run.

    Attributes:
        total: pictures of all sources.
        num_before: pictures that earlier runs finished.
        num_done: pictures that this run finished, with or without an error.
        num_failed: pictures of this run with an error.
    """

    total: int
    num_before: int
    num_done: int = 0
    num_failed: int = 0


class Progress:
    """Prints a line that replaces itself on a terminal, or a line every half minute to a file.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, counts: Counts, output: TextIO, clock: Callable[[], float]) -> None:
        self._counts, self._output, self._clock = counts, output, clock
        self._is_terminal = output.isatty()
        self._interval_s = _TERMINAL_INTERVAL_S if self._is_terminal else _LOG_INTERVAL_S
        self._shown_at = clock()
        self._samples = deque([(clock(), 0)])

    def count(self, *, is_error: bool) -> None:
        """Count a finished picture, and show the progress if it is time to."""
        self._counts.num_done += 1
        self._counts.num_failed += is_error
        if self._clock() - self._shown_at >= self._interval_s:
            self._sample()
            self._show("\r" if self._is_terminal else "")

    def close(self) -> None:
        """Show the last state."""
        self._sample()
        self._show("\r" if self._is_terminal else "")
        if self._is_terminal:
            print(file=self._output)

    def _sample(self) -> None:
        self._shown_at = self._clock()
        self._samples.append((self._shown_at, self._counts.num_done))
        while self._samples[-1][0] - self._samples[0][0] > _WINDOW_S and len(self._samples) > 2:
            self._samples.popleft()

    def _show(self, start: str) -> None:
        end = "\033[K" if self._is_terminal else "\n"  # the rest of a longer line
        print(f"{start}{describe(self._counts, self._rate())}", end=end, file=self._output)
        self._output.flush()

    def _rate(self) -> float:
        """Return the pictures per second of the last minute."""
        (began, first), (now, last) = self._samples[0], self._samples[-1]
        return (last - first) / (now - began) if now > began else 0.0


def describe(counts: Counts, rate: float) -> str:
    """Return a line of progress.

    >>> describe(Counts(total=2000, num_before=500, num_done=300, num_failed=2), rate=4.0)
    '800 of 2000 pictures, 4.0 per second, 5 min left, 2 failed'
    """
    finished = counts.num_before + counts.num_done
    left = counts.total - finished
    parts = [f"{finished} of {counts.total} pictures", f"{rate:.1f} per second"]
    if left > 0:
        parts.append(f"{_duration(left / rate)} left" if rate > 0 else "time left unknown")
    parts.append(f"{counts.num_failed} failed")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    """Return a rounded duration.

    >>> [_duration(seconds) for seconds in (9.6, 300, 9000, 200_000)]
    ['10 s', '5 min', '2.5 h', '2.3 days']
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
