"""Admission: limits the number of requests that all HTTP processes together hold."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from time import monotonic

from app.errors import Overloaded, Unavailable
from app.ipc.engine_messages import Priority
from app.ipc.shared_state import SharedState

MAX_RETRY_AFTER_S = 60


class Admission:
    """Grants the service's permits; one object per HTTP process.

    While the supervisor restarts a crashed engine, the capacity stays that of the old engine.

    Args:
        state: holds the permits of all HTTP processes.
        worker: index of this HTTP process, from 0.
        clock: monotonic clock in seconds.
    """

    def __init__(
        self, state: SharedState, worker: int, clock: Callable[[], float] = monotonic
    ) -> None:
        self._state, self._worker, self._clock = state, worker, clock

    @contextmanager
    def permit(self, priority: Priority = "interactive") -> Iterator[None]:
        """Hold one permit within the block; enter it before any work on a request.

        Raises:
            Unavailable: no engine is ready, and none is expected soon.
            Overloaded: all permits are taken.
        """
        refusal, is_batch = self.refusal(priority), priority == "batch"
        if refusal is None and not self._state.acquire_permit(self._worker, is_batch=is_batch):
            refusal = self._overloaded()  # another process took the last permit in between
        if refusal is not None:
            raise refusal
        try:
            yield
        finally:
            self._state.release_permit(self._worker, is_batch=is_batch)

    def refusal(self, priority: Priority = "interactive") -> Overloaded | Unavailable | None:
        """Return the error that `permit` would raise now; takes no permit and no lock."""
        if not (self._state.is_engine_ready or self._state.is_engine_returning):
            return Unavailable("the engine is starting", _retry_after_s(self._engine_due_in_s))
        if not self._state.has_permit(is_batch=priority == "batch"):
            return self._overloaded()
        return None

    def _overloaded(self) -> Overloaded:
        served_in_s = max(0.0, self._engine_due_in_s) + self._state.seconds_to_serve_all
        message = f"the service is full (capacity {self._state.capacity})"
        return Overloaded(message, _retry_after_s(served_in_s))

    @property
    def _engine_due_in_s(self) -> float:
        return self._state.engine_due_at_s - self._clock()


def _retry_after_s(wait_s: float) -> int:
    """Round up to whole seconds for `Retry-After`: at least 1, at most a minute."""
    return max(1, min(MAX_RETRY_AFTER_S, ceil(wait_s)))
