"""Decides when to send a request again. It neither sends nor waits: the clients do both.

`exchange` is a generator, so that the client with and the client without `async` share all
decisions: it yields what to do next, and receives the outcome.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass

from kosmos2_client.errors import (
    ConnectionFailed,
    Kosmos2ClientError,
    RateLimited,
    ServiceFailure,
)
from kosmos2_client.replies import Reply, error_of

_LEAST_S = 0.001
_LONGEST_TRY_S = 2e6
"""Sockets accept no timeout below 0, and none above 24.8 days."""

_MOST_DOUBLINGS = 64


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long to try.

    Attributes:
        timeout_s: for all tries of a call and the waits between them, in seconds.
        max_retries: tries after the first one.
        first_wait_s: longest wait after the first failure; it doubles with each failure.
        longest_wait_s: upper limit of the doubling. `Retry-After` may be longer.

    Raises:
        ValueError: `timeout_s` is not positive.
    """

    timeout_s: float = 120.0
    max_retries: int = 8
    first_wait_s: float = 0.5
    longest_wait_s: float = 10.0

    def __post_init__(self) -> None:
        if not self.timeout_s > 0:  # also for NaN
            raise ValueError("timeout_s must be more than 0")

    def wait_s(self, error: Kosmos2ClientError, num_failures: int, random: float) -> float | None:
        """Return the seconds to wait before the next try; `None` if there must be none.

        Args:
            random: uniform, 0…1, so that clients that failed together do not return together.
        """
        if num_failures > self.max_retries or not is_transient(error):
            return None
        doublings = min(num_failures - 1, _MOST_DOUBLINGS)
        longest_s = min(self.longest_wait_s, self.first_wait_s * 2.0**doublings)
        required_s = retry_after_of(error)
        if required_s is None:
            return longest_s * (0.5 + random / 2)
        return required_s + self.first_wait_s * random


@dataclass(frozen=True)
class Send:
    """Send the request; the outcome is a `Reply` or `ConnectionFailed`.

    Attributes:
        timeout_s: until the whole answer has arrived.
    """

    timeout_s: float


@dataclass(frozen=True)
class Wait:
    """Wait for some seconds."""

    seconds: float


Action = Send | Wait
Outcome = Reply | ConnectionFailed | None
"""What `Send` returned; `None` after a `Wait`."""


def is_transient(error: Kosmos2ClientError) -> bool:
    """Return whether the same request may succeed later."""
    timed_out = getattr(error, "status", None) == 408  # the service read the body too slowly
    return timed_out or isinstance(error, ConnectionFailed | RateLimited | ServiceFailure)


def retry_after_of(error: Kosmos2ClientError) -> float | None:
    """Return the wait that the service requires, in seconds; `None` without one."""
    seconds: float | None = getattr(error, "retry_after_s", None)
    return seconds


def exchange(
    policy: RetryPolicy, clock: Callable[[], float], random: Callable[[], float]
) -> Generator[Action, Outcome, Reply]:
    """Yield what to do next, until a request succeeds; return its response.

    Args:
        clock: monotonic, in seconds.
        random: uniform, 0…1.

    Raises:
        Kosmos2ClientError: the error of the last try, if no further try fits into the time.
    """
    deadline = clock() + policy.timeout_s
    num_failures = 0
    while True:
        # A wait may have ended a little after the deadline.
        outcome = yield Send(max(_LEAST_S, min(_LONGEST_TRY_S, deadline - clock())))
        error: Kosmos2ClientError | None
        if isinstance(outcome, Reply):
            error = error_of(outcome)
            if error is None:
                return outcome
        else:
            error = outcome or ConnectionFailed("the request was not sent")
        num_failures += 1
        wait_s = policy.wait_s(error, num_failures, random())
        if wait_s is None or clock() + wait_s >= deadline:
            raise error
        yield Wait(wait_s)
