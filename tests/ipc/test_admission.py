"""Admission, with real shared memory and a fixed clock."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from app.errors import Overloaded, Unavailable
from app.ipc.admission import MAX_RETRY_AFTER_S, Admission
from app.ipc.shared_state import EngineFacts, SharedState

FACTS = EngineFacts(num_slots=4, max_waiting=16, device="cpu", dtype="float32")
CAPACITY = FACTS.num_slots + FACTS.max_waiting
NOW = 1000.0


@pytest.fixture
def state(tmp_path: Path) -> SharedState:
    """Return the state of a service whose engine is ready."""
    state = SharedState(tmp_path / "state")
    state.begin_epoch()
    state.mark_engine_ready(FACTS)
    return state


@pytest.fixture
def admission(state: SharedState) -> Admission:
    return Admission(state, worker=0, clock=lambda: NOW)


def hold_all(permits: ExitStack, admission: Admission) -> None:
    for _ in range(CAPACITY):
        permits.enter_context(admission.permit())


def test_http_processes_share_the_capacity(state: SharedState, admission: Admission) -> None:
    other = Admission(state, worker=1, clock=lambda: NOW)
    with ExitStack() as permits:
        hold_all(permits, admission)
        assert isinstance(other.refusal(), Overloaded)
        with pytest.raises(Overloaded), other.permit():
            pass
    with other.permit():
        assert state.num_permits_taken == 1
    assert state.num_permits_taken == 0


def test_a_permit_is_released_after_an_error(state: SharedState, admission: Admission) -> None:
    with pytest.raises(KeyError), admission.permit():
        raise KeyError
    assert state.num_permits_taken == 0


@pytest.mark.parametrize(
    ("requests_per_s", "engine_due_in_s", "retry_after_s"),
    [(0, 0, 1), (4, 0, 5), (40, 0, 1), (0.01, 0, MAX_RETRY_AFTER_S), (4, 2.5, 8)],
)
def test_a_full_service_reports_the_time_to_serve_all_requests(
    state: SharedState,
    admission: Admission,
    requests_per_s: float,
    engine_due_in_s: float,
    retry_after_s: int,
) -> None:
    """At the measured rate, from the expected start of the engine on; at most a minute."""
    state.publish_rate(requests_per_s)
    if engine_due_in_s:
        state.mark_engine_stopped(NOW + engine_due_in_s, is_returning=True)
    with ExitStack() as permits:
        hold_all(permits, admission)
        with pytest.raises(Overloaded) as rejected, admission.permit():
            pass
    assert rejected.value.retry_after_s == retry_after_s


def test_requests_are_admitted_during_the_first_restart_and_rejected_after_it_failed(
    state: SharedState, admission: Admission
) -> None:
    """The number of further restarts is unknown; the answer names the time of the next."""
    state.mark_engine_stopped(NOW + 3, is_returning=True)
    with admission.permit():
        pass
    state.mark_engine_stopped(NOW + 6.5, is_returning=False)
    with pytest.raises(Unavailable) as rejected, admission.permit():
        pass
    assert rejected.value.retry_after_s == 7


def test_no_request_is_admitted_before_the_first_engine(tmp_path: Path) -> None:
    """The engine determines the capacity, so it is unknown before."""
    admission = Admission(SharedState(tmp_path / "state"), worker=0)
    with pytest.raises(Unavailable), admission.permit():
        pass


def test_a_quarter_of_the_permits_is_never_for_batch_requests(
    state: SharedState, admission: Admission
) -> None:
    """A saturating batch keeps room for people who wait for an answer."""
    other = Admission(state, worker=1, clock=lambda: NOW)
    with ExitStack() as permits:
        for number in range(CAPACITY - CAPACITY // 4):
            permits.enter_context((admission, other)[number % 2].permit("batch"))
        with pytest.raises(Overloaded), admission.permit("batch"):
            pass
        for _ in range(CAPACITY // 4):
            permits.enter_context(admission.permit())
        with pytest.raises(Overloaded), other.permit():
            pass
    with admission.permit("batch"):
        assert state.num_permits_taken == 1
