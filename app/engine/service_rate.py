"""Recent rate of the engine: completed requests per second of work."""

from math import exp

MEMORY_S = 30.0


class ServiceRate:
    """An exponentially weighted mean over the engine's busy time; older steps count less.

    >>> rate = ServiceRate()
    >>> rate.count(num_finished=4, busy_s=2.0)
    2.0
    >>> round(rate.count(num_finished=0, busy_s=30.0), 3)  # the plain mean would be 0.125
    0.048
    """

    def __init__(self) -> None:
        self._num_finished = self._busy_s = 0.0

    def count(self, num_finished: int, busy_s: float) -> float:
        """Add a step; return the rate in requests per second, 0 before the first is complete.

        Args:
            num_finished: number of requests that the step completed.
            busy_s: duration of the step in seconds.
        """
        kept = exp(-busy_s / MEMORY_S)
        self._num_finished = self._num_finished * kept + num_finished
        self._busy_s = self._busy_s * kept + busy_s
        return self._num_finished / self._busy_s if self._busy_s else 0.0
