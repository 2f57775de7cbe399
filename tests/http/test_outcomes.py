"""Requests are counted by outcome, and rejections by reason."""

from typing import get_args

import pytest
from prometheus_client import CollectorRegistry

from app.errors import (
    ClientDisconnected,
    DeadlineExceeded,
    InvalidRequest,
    Overloaded,
    PayloadTooLarge,
    RateLimited,
)
from app.http.outcomes import REASONS, count_rejection, count_request
from app.http.problems import PROBLEMS
from app.telemetry.metrics import HttpMetrics, OutcomeName, RejectionReason


def test_every_rejection_reason_is_the_code_of_its_problem() -> None:
    """Clients and dashboards use the same name for the same rejection."""
    assert {kind: PROBLEMS[kind].code for kind in REASONS} == REASONS
    assert set(REASONS.values()) == set(get_args(RejectionReason))


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (InvalidRequest("text", "is required"), "invalid"),
        (Overloaded("the service is full"), "rejected"),
        (DeadlineExceeded(), "deadline"),
        (ClientDisconnected(), "cancelled"),
        (KeyError(), "failed"),
    ],
)
def test_a_request_that_raises_is_counted_once_by_its_error(
    error: Exception, outcome: OutcomeName
) -> None:
    registry = CollectorRegistry()
    with pytest.raises(type(error)), count_request(HttpMetrics(registry), 1.0, lambda: 3.5):
        raise error
    labels = {"task": "unknown", "outcome": outcome, "door": "kosmos2"}
    assert registry.get_sample_value("kosmos2_requests_total", labels) == 1
    latency = registry.get_sample_value(
        "kosmos2_e2e_request_latency_seconds_sum", {"task": "unknown"}
    )
    assert latency == 2.5


def test_a_request_without_an_error_is_counted_once_by_its_finish_reason() -> None:
    registry = CollectorRegistry()
    with count_request(HttpMetrics(registry), 0.0, lambda: 0.0, "roboflow") as outcome:
        outcome.complete("length")
    labels = {"task": "unknown", "outcome": "length", "door": "roboflow"}
    assert registry.get_sample_value("kosmos2_requests_total", labels) == 1


def test_a_body_that_turns_out_too_long_is_counted_as_rejected() -> None:
    """As one whose length was declared."""
    registry = CollectorRegistry()
    with pytest.raises(PayloadTooLarge), count_request(HttpMetrics(registry), 0.0, lambda: 0.0):
        raise PayloadTooLarge("the body may have at most 9 bytes")
    name = "kosmos2_admission_rejections_total"
    assert registry.get_sample_value(name, {"reason": "payload_too_large"}) == 1


def test_a_rejection_is_counted_by_its_reason() -> None:
    registry = CollectorRegistry()
    count_rejection(HttpMetrics(registry), RateLimited("the key is over its limit", 1))
    name = "kosmos2_admission_rejections_total"
    assert registry.get_sample_value(name, {"reason": "rate_limited"}) == 1
