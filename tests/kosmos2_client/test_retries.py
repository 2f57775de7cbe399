"""Times of a call: limits of any size, and `Retry-After` in every form."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from kosmos2_client import ConnectionFailed, RetryPolicy
from kosmos2_client.replies import Reply, read_retry_after
from kosmos2_client.retries import Send, Wait, exchange


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, math.nan])
def test_a_time_limit_must_be_positive(timeout_s: float) -> None:
    with pytest.raises(ValueError, match="timeout_s must be more than 0"):
        RetryPolicy(timeout_s=timeout_s)


@pytest.mark.parametrize("timeout_s", [math.inf, 1e12])
def test_a_long_time_limit_fits_a_socket(timeout_s: float) -> None:
    """A socket accepts at most 2**31 milliseconds."""
    steps = exchange(RetryPolicy(timeout_s=timeout_s), lambda: 0.0, lambda: 0.0)
    action = next(steps)
    assert isinstance(action, Send)
    assert 1e6 < action.timeout_s < 2**31 / 1000


def test_a_try_has_time_after_a_wait_that_ended_late() -> None:
    """A socket refuses times below 0."""
    now = 0.0
    steps = exchange(RetryPolicy(timeout_s=5), lambda: now, lambda: 0.0)
    next(steps)
    assert isinstance(steps.send(Reply(503, b"", "4")), Wait)
    now = 6.0
    action = steps.send(None)
    assert isinstance(action, Send)
    assert 0 < action.timeout_s < 0.1


def test_waits_have_a_limit_after_thousands_of_failures() -> None:
    policy = RetryPolicy(max_retries=10**6)
    assert policy.wait_s(ConnectionFailed("no answer"), 5000, random=1.0) == policy.longest_wait_s


def test_a_date_without_a_zone_is_in_utc() -> None:
    """Some proxies omit the `GMT`, which HTTP requires."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    waits = [read_retry_after(text) for text in (date, date.removesuffix(" GMT"))]
    assert all(wait is not None and 90 < wait <= 100 for wait in waits)
