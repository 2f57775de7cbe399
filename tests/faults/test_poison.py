"""A request that is the engine's death fails itself only (invariant 4)."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from harness.asking import ask, same, streaming
from harness.faulty_engine import DIE, HANG, RAISE
from harness.service import RunningService, running_service

FAULTY = "harness.faulty_service"
FIELDS: dict[str, object] = {"max_new_tokens": 60}
NUM_OTHERS = 7
UNHURRIED_S = 900


def ask_beside(
    service: RunningService, poison: dict[str, object]
) -> tuple[httpx.Response, list[httpx.Response]]:
    """A faulty request, and others at the same time."""
    with ThreadPoolExecutor(NUM_OTHERS + 1) as pool:
        others = [pool.submit(ask, service.url, **FIELDS) for _ in range(NUM_OTHERS)]
        poisoned = pool.submit(ask, service.url, **poison)
        return poisoned.result(), [other.result() for other in others]


@pytest.mark.parametrize(("seed", "max_deaths"), [(DIE, 5), (RAISE, 0)])
def test_one_of_eight_is_refused_and_seven_are_answered(
    tireless: Path, seed: int, max_deaths: int
) -> None:
    """Eight die together, then four, two and one, and the one once more: five deaths at most."""
    with running_service(FAULTY, model=tireless, deadline_s=UNHURRIED_S) as service:
        undisturbed = same(ask(service.url, **FIELDS).json())
        poisoned, others = ask_beside(service, FIELDS | {"seed": seed})
        assert (poisoned.status_code, poisoned.json()["code"]) == (500, "engine_failure")
        assert [same(other.json()) for other in others] == [undisturbed] * NUM_OTHERS
        assert service.metric("kosmos2_engine_restarts_total") <= max_deaths
        assert service.metric("kosmos2_kv_slots_used") == 0
        refusals = [line for line in service.log if '"engine failure"' in line]
        assert len(refusals) == 1
        assert poisoned.json()["request_id"] in refusals[0]


def test_a_step_that_hangs_is_a_death(tireless: Path) -> None:
    """Its request hangs alone twice, then it is refused; the service goes on."""
    with running_service(FAULTY, model=tireless, deadline_s=UNHURRIED_S) as service:
        poisoned = ask(service.url, **FIELDS, seed=HANG)
        assert (poisoned.status_code, poisoned.json()["code"]) == (500, "engine_failure")
        assert service.metric("kosmos2_engine_restarts_total") == 2
        assert sum('"engine stuck"' in line for line in service.log) == 2
        assert ask(service.url).status_code == 200


def test_a_poisoned_stream_ends_with_the_problem(tireless: Path) -> None:
    """Its tokens have been sent, and none of them twice."""
    with running_service(FAULTY, model=tireless, deadline_s=UNHURRIED_S) as service:
        with streaming(service.url, **FIELDS, seed=DIE) as events:
            names = Counter(event.name for event in events)
        assert names["error"] == 1
        assert names["done"] == 0
