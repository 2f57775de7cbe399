"""An engine that neither works nor ends is ended."""

import signal
from pathlib import Path

import httpx

from harness.asking import ask, child_of, same, streaming
from harness.service import running_service
from harness.waiting import eventually

FAULTY = "harness.faulty_service"
FIELDS: dict[str, object] = {"max_new_tokens": 300}


def test_an_engine_that_stands_still_is_killed_and_its_streams_go_on(tireless: Path) -> None:
    """Stopped from outside, as a debugger or a driver might."""
    with running_service(FAULTY, model=tireless, deadline_s=900) as service:
        undisturbed = same(ask(service.url, **FIELDS).json())
        with streaming(service.url, **FIELDS) as events:
            engine = child_of(service, "harness.faulty_engine")
            engine.send_signal(signal.SIGSTOP)
            *_, done = events
        assert same(done.data) == undisturbed
        assert service.metric("kosmos2_engine_restarts_total") == 1
        assert not engine.is_running()


def test_an_engine_that_stands_still_at_rest_is_found_too(tireless: Path) -> None:
    """It stamps the page while it waits for work, so the next request does not pay for it."""
    with running_service(FAULTY, model=tireless) as service:
        engine = child_of(service, "harness.faulty_engine")
        engine.send_signal(signal.SIGSTOP)
        engine.wait(timeout=60)
        assert eventually(lambda: httpx.get(f"{service.url}/readyz").status_code == 200)
        assert ask(service.url).status_code == 200
