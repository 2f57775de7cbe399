"""Streams of slow engines: disconnected clients, the log, and SIGTERM."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import loopback
from harness.events import Event, events_of
from harness.pictures import picture_file
from harness.service import RunningService, running_service
from harness.waiting import eventually

PICTURE = picture_file()


@contextmanager
def streamed(url: str, max_new_tokens: int = 400) -> Iterator[Iterator[Event]]:
    """Yield the events of a long answer after its first event."""
    fields = {"task": "brief_caption", "stream": "true", "max_new_tokens": str(max_new_tokens)}
    with loopback.stream(
        "POST", f"{url}/v1/ground", files={"image": PICTURE}, data=fields, timeout=120
    ) as response:
        assert response.status_code == 200
        events = events_of(response)
        assert next(events).name == "token"
        yield events


def is_served(url: str) -> bool:
    short = {"task": "brief_caption", "max_new_tokens": "2"}
    response = loopback.post(f"{url}/v1/ground", files={"image": PICTURE}, data=short, timeout=120)
    return response.status_code == 200


def log_of(service: RunningService) -> list[dict[str, Any]]:
    """Return the log lines of requests to `POST /v1/ground`."""
    lines = [json.loads(line) for line in service.log if line.startswith("{")]
    return [line for line in lines if line.get("route") == "/v1/ground"]


def test_a_client_that_disconnects_from_a_stream_frees_its_slot(endless_checkpoint: Path) -> None:
    """With one slot and no queue, no other request could be served otherwise."""
    with running_service(model=endless_checkpoint, slots=1, max_waiting=0) as service:
        with streamed(service.url):
            assert eventually(lambda: service.metric("kosmos2_kv_slots_used") == 1)
            assert not is_served(service.url)
        assert eventually(lambda: is_served(service.url))
        labels = 'door="kosmos2",outcome="{}",task="brief_caption"'
        counts = {
            outcome: service.metric(f"kosmos2_requests_total{{{labels.format(outcome)}}}")
            for outcome in ("cancelled", "completed", "length", "failed")
        }
        assert counts == {"cancelled": 1, "completed": 0, "length": 1, "failed": 0}
        assert eventually(lambda: service.metric("kosmos2_kv_slots_used") == 0)
        assert service.metric("kosmos2_generation_tokens_total") < 400
        assert service.stop() == 0
        statuses = [line["status"] for line in log_of(service)]
        assert (statuses.count(499), statuses.count(200)) == (1, 1)


def test_a_stream_is_logged_at_its_end(service: RunningService) -> None:
    """The line has the duration of the whole stream."""
    with streamed(service.url) as events:
        *_, done = events

    def lines() -> list[dict[str, Any]]:
        return [line for line in log_of(service) if line["request_id"] == done.data["id"]]

    assert eventually(lambda: bool(lines()))
    [line] = lines()
    assert line["duration_s"] >= done.data["timings"]["total_s"]


def test_a_stream_is_completed_after_sigterm(endless_checkpoint: Path) -> None:
    with (
        running_service(model=endless_checkpoint, grace_period_s=300) as service,
        streamed(service.url, max_new_tokens=100) as events,
    ):
        service.process.send_signal(signal.SIGTERM)
        *_, last = events
        assert last.name == "done", last.data
