"""The pictures of a run that are still to do: new ones, and those that are tried again."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from kosmos2_client.run_file import LineError


@dataclass(frozen=True)
class Job:
    """A picture to run.

    Attributes:
        num_failures: tries whose failure counts against this picture.
        num_answers: answers of the run before its last try.
    """

    name: str
    num_failures: int = 0
    num_answers: int = 0


@dataclass(order=True)
class _Delayed:
    due: float
    number: int
    job: Job = field(compare=False)
    error: LineError = field(compare=False)


class Jobs:
    """Gives out jobs: first those that failed and are due again, then new names.

    Args:
        names: of new pictures; read one by one.
    """

    def __init__(self, names: Iterator[str]) -> None:
        self._names = names
        self._delayed: list[_Delayed] = []
        self._num_delayed = 0
        self.is_exhausted = False

    def delay(self, job: Job, due: float, error: LineError) -> None:
        """Keep a job until a time on the clock of the run."""
        self._num_delayed += 1
        heapq.heappush(self._delayed, _Delayed(due, self._num_delayed, job, error))

    def take(self, now: float) -> Job | None:
        """Return the next job; `None` if no job is ready."""
        if self._delayed and self._delayed[0].due <= now:
            return heapq.heappop(self._delayed).job
        name = next(self._names, None)
        if name is None:
            self.is_exhausted = True
            return None
        return Job(name)

    def next_due(self) -> float | None:
        """Return when the next failed job is due; `None` without one."""
        return self._delayed[0].due if self._delayed else None

    def take_failed(self) -> list[tuple[str, LineError]]:
        """Remove all jobs that wait for another try, and return them with their last errors."""
        failed = [(delayed.job.name, delayed.error) for delayed in self._delayed]
        self._delayed.clear()
        return failed
