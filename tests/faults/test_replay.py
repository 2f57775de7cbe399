"""When the engine dies, clients notice nothing except the delay."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from app.bench.event_stream import Event
from harness import loopback
from harness.answers import are_same
from harness.events import events_of, text_of
from harness.fault_requests import request_caption, stream_caption
from harness.pictures import picture_file
from harness.processes import ENGINE, find_process
from harness.service import RunningService, running_service
from harness.waiting import eventually

GREEDY = {"max_new_tokens": 300}
# Few candidates: with random weights thousands of tokens are almost equally probable, and rounding
# of float32, which differs between batches, would decide between them.
SAMPLED = GREEDY | {"temperature": 0.8, "top_k": 4, "seed": 7}
WITHOUT_BAN = GREEDY | {"temperature": 1, "top_k": 3, "no_repeat_ngram_size": 0, "seed": 8}
REQUESTS = (GREEDY, SAMPLED, WITHOUT_BAN)
REPLAYED, RESTARTS = "kosmos2_requests_replayed_total", "kosmos2_engine_restarts_total"


def num_running(service: RunningService) -> float:
    return service.metric("kosmos2_num_requests_running")


def num_engines_ready(service: RunningService, num_lines: int) -> int:
    """Return how many engines have become ready since the log had `num_lines` lines."""
    return sum('"engine ready"' in line for line in service.log[num_lines:])


def is_at_work(service: RunningService, num_lines: int, num_started: int) -> bool:
    """Return whether `num_started` engines became ready, and the last one runs several requests."""
    return num_engines_ready(service, num_lines) == num_started and num_running(service) > 1


def test_streams_continue_token_by_token_after_the_engine_is_killed(
    service: RunningService,
) -> None:
    """Greedy and sampled: no token is repeated, lost or changed."""
    num_replayed, num_restarts = service.metric(REPLAYED), service.metric(RESTARTS)
    with ExitStack() as stack:
        undisturbed = [request_caption(service.url, **fields).json() for fields in REQUESTS]
        streams = [
            stack.enter_context(stream_caption(service.url, **fields)) for fields in REQUESTS
        ]
        service.engine.kill()
        for events, expected in zip(streams, undisturbed, strict=True):
            *tokens, done = events
            assert done.name == "done", done
            assert are_same(done.data, expected)
            assert text_of(tokens) == expected["answer"]
    assert service.metric(REPLAYED) - num_replayed == len(REQUESTS)
    assert service.metric(RESTARTS) - num_restarts == 1


def test_a_detection_is_complete_although_the_engine_is_killed(service: RunningService) -> None:
    """A new engine gets the picture again, and every row that was not answered."""
    fields = {
        "classes": ",".join(f"class {number}" for number in range(40)),
        "confidence": "0",
        "stream": "true",
    }

    def detect() -> Iterator[Event]:
        with loopback.stream(
            "POST",
            f"{service.url}/v1/detect",
            files={"image": picture_file()},
            data=fields,
            timeout=120,
        ) as response:
            yield from events_of(response)

    *_, undisturbed = detect()
    events = detect()
    next(events)
    service.engine.kill()
    *_, done = events
    assert done.name == "done"
    for ours, expected in zip(done.data["classes"], undisturbed.data["classes"], strict=True):
        assert ours["class"] == expected["class"]
        assert ours["presence"] == pytest.approx(expected["presence"], abs=1e-3)
    assert len(done.data["predictions"]) == len(undisturbed.data["predictions"])


def test_waiting_and_new_requests_are_answered_after_an_engine_death(
    endless_checkpoint: Path,
) -> None:
    """A client that waits for a new engine needs no error."""
    with (
        running_service(model=endless_checkpoint, deadline_s=900, slots=1) as service,
        ThreadPoolExecutor() as pool,
    ):
        undisturbed = request_caption(service.url, **SAMPLED).json()
        before = [pool.submit(request_caption, service.url, **SAMPLED) for _ in range(3)]
        # One request holds the only slot, the other two wait.
        assert eventually(lambda: service.metric("kosmos2_num_requests_waiting") == 2)
        engine = service.engine
        engine.kill()
        engine.wait()
        during = [pool.submit(request_caption, service.url, **SAMPLED)]
        answers = [future.result().json() for future in (*before, *during)]
        assert are_same(answers, [undisturbed] * 4)


def test_answers_survive_several_engine_deaths(service: RunningService) -> None:
    """A request is rejected only if it ran alone at two deaths."""
    num_restarts, num_lines = service.metric(RESTARTS), len(service.log)
    with ThreadPoolExecutor() as pool:
        undisturbed = [request_caption(service.url, **fields).json() for fields in REQUESTS] * 3
        pending = [pool.submit(request_caption, service.url, **fields) for fields in REQUESTS * 3]
        for num_started in (0, 1):
            assert eventually(partial(is_at_work, service, num_lines, num_started))
            service.engine.kill()
        assert are_same([future.result().json() for future in pending], undisturbed)
    assert service.metric(RESTARTS) - num_restarts == 2


def test_an_engine_that_dies_while_loading_is_restarted(
    service: RunningService,
) -> None:
    """It had no request yet, so no request is a suspect."""
    num_restarts, num_lines = service.metric(RESTARTS), len(service.log)
    with ThreadPoolExecutor() as pool:
        undisturbed = request_caption(service.url, **GREEDY).json()
        waiting = pool.submit(request_caption, service.url, **GREEDY)
        assert eventually(lambda: num_running(service) == 1)
        first = service.engine
        first.kill()
        assert eventually(lambda: has_other_engine(service, first.pid))
        service.engine.kill()
        assert are_same(waiting.result().json(), undisturbed)
    assert num_engines_ready(service, num_lines) == 1
    assert service.metric(RESTARTS) - num_restarts == 2


def has_other_engine(service: RunningService, pid: int) -> bool:
    """Return whether an engine with another process id runs."""
    engine = find_process(service.process.pid, ENGINE)
    return engine is not None and engine.pid != pid


def test_all_http_processes_send_their_requests_to_the_next_engine(
    endless_checkpoint: Path,
) -> None:
    """Each holds its own requests; the supervisor sends the suspects to all of them."""
    with (
        running_service(model=endless_checkpoint, deadline_s=900, http_workers=2) as service,
        ThreadPoolExecutor() as pool,
    ):
        undisturbed = request_caption(service.url, **GREEDY).json()
        pending = [pool.submit(request_caption, service.url, **GREEDY) for _ in range(8)]
        assert eventually(lambda: num_running(service) > 1)
        service.engine.kill()
        assert are_same([future.result().json() for future in pending], [undisturbed] * 8)


def test_a_drain_waits_for_the_next_engine(endless_checkpoint: Path) -> None:
    """Accepted requests are answered even if the engine dies while the service drains."""
    with (
        running_service(model=endless_checkpoint, deadline_s=900, grace_period_s=200) as service,
        ThreadPoolExecutor() as pool,
    ):
        undisturbed = request_caption(service.url, **GREEDY).json()
        waiting = pool.submit(request_caption, service.url, **GREEDY)
        assert eventually(lambda: num_running(service) == 1)
        # The engine dies after the drain has begun.
        service.process.send_signal(signal.SIGTERM)
        service.engine.kill()
        assert are_same(waiting.result().json(), undisturbed)
        service.process.communicate(timeout=60)
        assert service.process.returncode == 0
