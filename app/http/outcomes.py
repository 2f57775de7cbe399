"""Counts each request once, by its outcome."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

from app.errors import (
    ClientDisconnected,
    DeadlineExceeded,
    Kosmos2Error,
    Overloaded,
    PayloadTooLarge,
    RateLimited,
    RequestError,
    Unauthorized,
    Unavailable,
)
from app.ipc.engine_messages import FinishReason
from app.telemetry.metrics import DoorName, HttpMetrics, OutcomeName, RejectionReason

Rejection = Overloaded | PayloadTooLarge | RateLimited | Unauthorized | Unavailable

REASONS: Mapping[type[Rejection], RejectionReason] = MappingProxyType(
    {
        Overloaded: "overloaded",
        PayloadTooLarge: "payload_too_large",
        RateLimited: "rate_limited",
        Unauthorized: "unauthorized",
        Unavailable: "unavailable",
    }
)


@dataclass
class Outcome:
    """The labels under which a request is counted, set while it is served.

    Attributes:
        task: a name in `app.grounding.tasks.TASKS`, or `unknown` if the request was rejected before
            its task was read.
        door: of the request's route.
    """

    task: str = "unknown"
    door: DoorName = "kosmos2"
    name: OutcomeName = "completed"

    def complete(self, finish_reason: FinishReason) -> None:
        """Record that the answer is complete, or ended at the limit of its length."""
        self.name = "completed" if finish_reason == "stop" else "length"

    def fail_midway(self, error: Kosmos2Error) -> None:
        """Record an error that ended the answer after its first part had been sent."""
        self.name = "deadline" if isinstance(error, DeadlineExceeded) else "failed"


@contextmanager
def count_request(
    metrics: HttpMetrics,
    received_at: float,
    clock: Callable[[], float],
    door: DoorName = "kosmos2",
) -> Iterator[Outcome]:
    """Count one request when the block ends, normally or with an exception.

    Args:
        received_at: when the request's headers were complete, in seconds on `clock`.
        clock: monotonic, seconds.
    """
    outcome = Outcome(door=door)
    try:
        yield outcome
    except BaseException as error:
        record_outcome(metrics, outcome, clock() - received_at, error)
        raise
    record_outcome(metrics, outcome, clock() - received_at)


def record_outcome(
    metrics: HttpMetrics, outcome: Outcome, latency_s: float, error: BaseException | None = None
) -> None:
    """Count a finished request by its outcome, or by the error that ended it, and its latency."""
    if error is not None:
        outcome.name = _name(error)
    # The middleware counts rejections by key, rate and declared length itself.
    if isinstance(error, Overloaded | PayloadTooLarge | Unavailable):
        count_rejection(metrics, error)
    metrics.requests_total.labels(outcome.task, outcome.name, outcome.door).inc()
    metrics.e2e_request_latency_seconds.labels(outcome.task).observe(latency_s)


def count_rejection(metrics: HttpMetrics, error: Rejection) -> None:
    """Count a request that was rejected before any work on it."""
    metrics.admission_rejections_total.labels(REASONS[type(error)]).inc()


def _name(error: BaseException) -> OutcomeName:
    if isinstance(error, RequestError):
        return "invalid"
    if isinstance(error, Overloaded | Unavailable):
        return "rejected"
    if isinstance(error, DeadlineExceeded):
        return "deadline"
    if isinstance(error, ClientDisconnected):
        return "cancelled"
    return "failed"
