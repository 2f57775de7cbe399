"""Decides how many requests are sent at once, from what the service answers."""

from collections.abc import Callable

_CUT = 0.75
_FIRST_OUTAGE_S = 0.5
_LONGEST_OUTAGE_S = 10.0
_DEFAULT_PAUSE_S = 1.0


class Pacing:
    """A limit that grows while the service accepts everything, and shrinks when it is full.

    It doubles per round of answers until the service rejects a request for the first time; then it
    grows by one per round, as TCP does. After a 503 or 429, nothing is sent before the time that
    `Retry-After` states.

    Args:
        max_concurrency: largest number of requests at once, ≥ 1.
        clock: monotonic, in seconds.
    """

    def __init__(self, max_concurrency: int, clock: Callable[[], float]) -> None:
        self._max, self._clock = max_concurrency, clock
        self._limit = float(min(max_concurrency, 8))
        self._is_doubling = True
        self._cut_at = clock()
        self._num_outages = 0
        self._paused_until = clock()

    @property
    def limit(self) -> int:
        """Requests at once, ≥ 1."""
        return int(self._limit)

    @property
    def pause_s(self) -> float:
        """Seconds until the next request may be sent, ≥ 0."""
        return max(0.0, self._paused_until - self._clock())

    def answered(self) -> None:
        """Count a request that the service answered."""
        growth = 1.0 if self._is_doubling else 1.0 / self._limit
        self._limit = min(float(self._max), self._limit + growth)
        self._num_outages = 0

    def rejected(self, sent_at: float, retry_after_s: float | None) -> None:
        """Count a request that a full service rejected.

        Args:
            sent_at: when it was sent, so that one burst of rejections reduces the limit once.
        """
        self._reduce(sent_at, _CUT)
        self._pause(_DEFAULT_PAUSE_S if retry_after_s is None else retry_after_s)

    def lost(self, sent_at: float) -> None:
        """Count a request without an answer: the service may have ended; probe it less and less."""
        if sent_at >= self._cut_at:
            longest_s = min(_LONGEST_OUTAGE_S, _FIRST_OUTAGE_S * 2.0**self._num_outages)
            self._num_outages = min(self._num_outages + 1, 16)
            self._pause(longest_s)
        self._reduce(sent_at, 0.5)

    def _reduce(self, sent_at: float, share: float) -> None:
        self._is_doubling = False
        if sent_at >= self._cut_at:
            self._limit = max(1.0, self._limit * share)
            self._cut_at = self._clock()

    def _pause(self, seconds: float) -> None:
        self._paused_until = max(self._paused_until, self._clock() + seconds)
