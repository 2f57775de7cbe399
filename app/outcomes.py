"""Counts each request once, by how it ended."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.engine.messages import FinishReason
from app.errors import (
    ClientLeft,
    DeadlineExceeded,
    Kosmos2Error,
    Overloaded,
    RequestError,
    Unavailable,
)
from app.metrics import HttpMetrics


@dataclass
class Outcome:
    """How a request ended, filled in as it becomes known.

    Attributes:
        task: of `app.tasks.TASKS`, or `unknown` for a request that named none of them.
        name: one of `app.metrics.OUTCOMES`.
    """

    task: str = "unknown"
    name: str = "completed"

    def complete(self, finish_reason: FinishReason) -> None:
        """The answer is whole, or as long as it may be."""
        self.name = "completed" if finish_reason == "stop" else "length"

    def fail_midway(self, error: Kosmos2Error) -> None:
        """The answer ended with an error after its beginning had been sent."""
        self.name = "deadline" if isinstance(error, DeadlineExceeded) else "failed"


@contextmanager
def counted(
    metrics: HttpMetrics, received_at: float, clock: Callable[[], float]
) -> Iterator[Outcome]:
    """Count one request, and its latency, when the block ends, with an exception or without.

    Args:
        metrics: where.
        received_at: when its headers were complete, on `clock`.
        clock: monotonic, seconds.
    """
    outcome = Outcome()
    try:
        yield outcome
    except BaseException as error:
        outcome.name = _name(error)
        if isinstance(error, Overloaded | Unavailable):
            metrics.admission_rejections_total.labels(type(error).__name__.lower()).inc()
        raise
    finally:
        metrics.requests_total.labels(outcome.task, outcome.name).inc()
        latency = metrics.e2e_request_latency_seconds.labels(outcome.task)
        latency.observe(clock() - received_at)


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
