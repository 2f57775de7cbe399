"""A request that kills the engine is rejected alone (invariant 4)."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from harness.answers import are_same
from harness.fault_requests import request_caption, stream_caption
from harness.faulty_engine import DIE, HANG, RAISE
from harness.service import RunningService

FIELDS: dict[str, object] = {"max_new_tokens": 60}
NUM_OTHERS = 7
RESTARTS = "kosmos2_engine_restarts_total"


def send_together(
    service: RunningService, poison: dict[str, object]
) -> tuple[httpx.Response, list[httpx.Response]]:
    """Send a faulty request together with others; return their responses."""
    with ThreadPoolExecutor(NUM_OTHERS + 1) as pool:
        others = [pool.submit(request_caption, service.url, **FIELDS) for _ in range(NUM_OTHERS)]
        poisoned = pool.submit(request_caption, service.url, **poison)
        return poisoned.result(), [other.result() for other in others]


def is_engine_failure(response: httpx.Response) -> bool:
    return response.status_code == 500 and response.json()["code"] == "engine_failure"


@pytest.mark.parametrize(("seed", "max_deaths"), [(DIE, 5), (RAISE, 0)])
def test_one_of_eight_requests_is_rejected_and_seven_are_answered(
    faulty_service: RunningService, seed: int, max_deaths: int
) -> None:
    """The engine dies at most five times: with eight, four, two, one and one requests running."""
    undisturbed = request_caption(faulty_service.url, **FIELDS).json()
    num_restarts, num_lines = faulty_service.metric(RESTARTS), len(faulty_service.log)
    poisoned, others = send_together(faulty_service, FIELDS | {"seed": seed})
    assert is_engine_failure(poisoned)
    assert are_same([other.json() for other in others], [undisturbed] * NUM_OTHERS)
    assert faulty_service.metric(RESTARTS) - num_restarts <= max_deaths
    assert faulty_service.metric("kosmos2_kv_slots_used") == 0
    (line,) = (line for line in faulty_service.log[num_lines:] if '"engine failure"' in line)
    assert poisoned.json()["request_id"] in line


def test_a_hanging_step_counts_as_a_death(faulty_service: RunningService) -> None:
    """The request hangs alone twice and is rejected; the service continues."""
    num_restarts, num_lines = faulty_service.metric(RESTARTS), len(faulty_service.log)
    assert is_engine_failure(request_caption(faulty_service.url, **FIELDS, seed=HANG))
    assert faulty_service.metric(RESTARTS) - num_restarts == 2
    assert sum('"engine stuck"' in line for line in faulty_service.log[num_lines:]) == 2
    assert request_caption(faulty_service.url).status_code == 200


def test_a_stream_that_kills_the_engine_ends_with_an_error_event(
    faulty_service: RunningService,
) -> None:
    """No `done` event follows the error."""
    with stream_caption(faulty_service.url, **FIELDS, seed=DIE) as events:
        names = Counter(event.name for event in events)
    assert names["error"] == 1
    assert names["done"] == 0
