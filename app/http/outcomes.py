"""Counts each request once, by how it ended."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from app.errors import (
    ClientLeft,
    DeadlineExceeded,
    Kosmos2Error,
    Overloaded,
    RequestError,
    Unavailable,
)
from app.ipc.engine_messages import FinishReason
from app.telemetry.metrics import HttpMetrics


@dataclass
class Outcome:
    """How a request ended, filled in as it becomes known.

    Attributes:
        task: of `app.grounding.tasks.TASKS`, or `unknown` for a request that named none of them.
        name: one of `app.telemetry.metrics.OUTCOMES`.
    """

    task: str = "unknown"
    name: str = "completed"

    def complete(self, finish_reason: FinishReason) -> None:
        """The answer is whole, or as long as it may be."""
        self.name = "completed" if finish_reason == "stop" else "length"

    def fail_midway(self, error: Kosmos2Error) -> None:
        """The answer ended with an error after its beginning had been sent."""
        self.name = "deadline" if isinstance(error, DeadlineExceeded) else "failed"


class Counted(AbstractContextManager[Outcome]):
    """Counts one request when the block ends, with an exception or without.

    Args:
        metrics: where.
        received_at: when the request's headers were complete, on `clock`.
        clock: monotonic, seconds.
    """

    def __init__(
        self, metrics: HttpMetrics, received_at: float, clock: Callable[[], float]
    ) -> None:
        self._metrics, self._received_at, self._clock = metrics, received_at, clock
        self._outcome = Outcome()

    def __enter__(self) -> Outcome:
        """What is to be filled in."""
        return self._outcome

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Count."""
        latency_s = self._clock() - self._received_at
        count_request(self._metrics, self._outcome, latency_s, error)


def count_request(
    metrics: HttpMetrics, outcome: Outcome, latency_s: float, error: BaseException | None
) -> None:
    """Count a request that has ended, by the error that ended it if one did, and its latency."""
    if error is not None:
        outcome.name = _name(error)
    if isinstance(error, Overloaded | Unavailable):
        metrics.admission_rejections_total.labels(type(error).__name__.lower()).inc()
    metrics.requests_total.labels(outcome.task, outcome.name).inc()
    metrics.e2e_request_latency_seconds.labels(outcome.task).observe(latency_s)


def _name(error: BaseException) -> str:
    if isinstance(error, RequestError):
        return "invalid"
    if isinstance(error, Overloaded | Unavailable):
        return "rejected"
    if isinstance(error, DeadlineExceeded):
        return "deadline"
    if isinstance(error, ClientLeft):
        return "cancelled"
    return "failed"
