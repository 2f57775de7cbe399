"""The supervisor kills an engine that hangs, and starts another one."""

import signal

from harness import loopback
from harness.answers import are_same
from harness.fault_requests import request_caption, stream_caption
from harness.processes import FAULTY_ENGINE
from harness.service import RunningService
from harness.waiting import eventually

FIELDS: dict[str, object] = {"max_new_tokens": 300}
RESTARTS = "kosmos2_engine_restarts_total"


def test_a_hung_engine_is_killed_and_its_streams_continue(faulty_service: RunningService) -> None:
    """The engine is stopped from outside, as a debugger or a driver might do."""
    undisturbed = request_caption(faulty_service.url, **FIELDS).json()
    num_restarts = faulty_service.metric(RESTARTS)
    with stream_caption(faulty_service.url, **FIELDS) as events:
        engine = faulty_service.child(FAULTY_ENGINE)
        engine.send_signal(signal.SIGSTOP)  # a stopped process writes no stamps
        *_, done = events
    assert are_same(done.data, undisturbed)
    assert faulty_service.metric(RESTARTS) == num_restarts + 1
    assert not engine.is_running()


def test_an_engine_that_hangs_while_idle_is_killed(faulty_service: RunningService) -> None:
    """An idle engine stamps the shared state too, so the next request finds a new engine."""
    engine = faulty_service.child(FAULTY_ENGINE)
    engine.send_signal(signal.SIGSTOP)
    engine.wait(timeout=60)
    assert eventually(lambda: loopback.get(f"{faulty_service.url}/readyz").status_code == 200)
    assert request_caption(faulty_service.url).status_code == 200
