"""Every accepted request is answered exactly once, even if clients or processes end."""

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from harness import loopback
from harness.fault_requests import PICTURE, request_caption
from harness.processes import HTTP
from harness.service import RunningService, running_service
from harness.waiting import eventually
from harness.wire import open_connection, receive, request

LONG = {"task": "brief_caption", "max_new_tokens": "400"}


def is_running_one(service: RunningService) -> bool:
    return service.metric("kosmos2_num_requests_running") == 1


@pytest.fixture(scope="module")
def one_slot(endless_checkpoint: Path) -> Iterator[RunningService]:
    """A service that admits one request at a time."""
    with running_service(model=endless_checkpoint, slots=1, max_waiting=0) as running:
        yield running


def num_ended(service: RunningService, outcome: str, task: str) -> float:
    return service.metric(
        f'kosmos2_requests_total{{door="kosmos2",outcome="{outcome}",task="{task}"}}'
    )


@pytest.mark.parametrize("next_request", [b"", request("GET", "/livez")])
def test_a_client_that_disconnects_frees_its_slot(
    one_slot: RunningService, next_request: bytes
) -> None:
    """With one slot and an empty queue, no other request could run."""
    # The service is shared, so the test compares counters with their earlier values.
    num_cancelled = num_ended(one_slot, "cancelled", "brief_caption")
    form = httpx.Request("POST", one_slot.url, files={"image": PICTURE}, data=LONG)
    headers = [f"{name}: {form.headers[name]}" for name in ("content-type", "content-length")]
    sent = request("POST", "/v1/ground", *headers, body=form.read())
    with open_connection(one_slot.url) as connection:
        connection.sendall(sent + next_request)
        assert eventually(lambda: is_running_one(one_slot))
        rejected = request_caption(one_slot.url)
        assert rejected.status_code == 503
        assert rejected.json()["code"] == "overloaded"
        assert int(rejected.headers["Retry-After"]) >= 1
    assert eventually(lambda: request_caption(one_slot.url).status_code == 200)
    assert num_ended(one_slot, "cancelled", "brief_caption") == num_cancelled + 1
    assert one_slot.metric("kosmos2_kv_slots_used") == 0


def test_a_full_service_rejects_requests_at_their_headers(one_slot: RunningService) -> None:
    """Before clients send megabytes; if they send the body anyway, the connection survives."""
    body = b"x" * 500_000
    head = request("POST", "/v1/ground", "Content-Type: a/b", f"Content-Length: {len(body)}")
    num_rejected = num_ended(one_slot, "rejected", "unknown")
    with ThreadPoolExecutor(1) as pool, open_connection(one_slot.url) as connection:
        pool.submit(request_caption, one_slot.url, **LONG)
        assert eventually(lambda: is_running_one(one_slot))
        connection.sendall(head)
        rejected = receive(connection)
        assert (rejected.status, rejected.content["code"]) == (503, "overloaded")
        connection.sendall(body + request("GET", "/v1/tasks"))
        assert receive(connection).status == 200
    assert num_ended(one_slot, "rejected", "unknown") == num_rejected + 1


def test_a_killed_http_process_is_replaced(one_slot: RunningService) -> None:
    """Its requests are cancelled in the engine, and its permits are released."""
    connection = httpx.Client()
    thread = threading.Thread(target=_ignore_the_answer, args=(connection, one_slot.url))
    thread.start()
    assert eventually(lambda: is_running_one(one_slot))
    one_slot.child(HTTP).kill()
    thread.join()
    connection.close()
    assert eventually(lambda: _is_served(one_slot.url))


def test_all_http_processes_share_one_capacity(
    endless_checkpoint: Path,
) -> None:
    """With one slot and one waiting place, two requests are accepted and the others rejected."""
    with (
        running_service(
            model=endless_checkpoint, http_workers=3, slots=1, max_waiting=1
        ) as service,
        ThreadPoolExecutor(12) as pool,
    ):
        responses = [pool.submit(request_caption, service.url, **LONG) for _ in range(12)]
        statuses = sorted(response.result().status_code for response in responses)
        assert statuses == [200] * 2 + [503] * 10
        assert service.metric("kosmos2_http_workers") == 3


def test_a_request_after_its_deadline_fails(endless_checkpoint: Path) -> None:
    with running_service(model=endless_checkpoint, deadline_s=0.05) as service:
        response = request_caption(service.url, **LONG)
        assert response.status_code == 504
        assert response.json()["code"] == "deadline_exceeded"


def _ignore_the_answer(connection: httpx.Client, url: str) -> None:
    with pytest.raises(httpx.TransportError):
        connection.post(f"{url}/v1/ground", files={"image": PICTURE}, data=LONG, timeout=120)


def _is_served(url: str) -> bool:
    try:
        return request_caption(url).status_code == 200
    except httpx.TransportError:
        return False


def test_running_requests_are_finished_after_sigterm(endless_checkpoint: Path) -> None:
    """And the service is no longer ready, so load balancers stop sending requests."""
    with (
        running_service(model=endless_checkpoint, drain_delay_s=3) as service,
        ThreadPoolExecutor() as pool,
    ):
        waiting = pool.submit(request_caption, service.url, **LONG)
        assert eventually(lambda: is_running_one(service))
        service.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: loopback.get(f"{service.url}/readyz").status_code == 503)
        # During the drain delay the service is not ready, but still answers.
        late = request_caption(service.url)
        assert late.status_code == 200
        assert late.headers["Connection"] == "close"
        assert waiting.result().status_code == 200
        service.process.communicate(timeout=60)
        assert service.process.returncode == 0


def test_a_draining_service_refuses_connections_and_finishes_an_upload() -> None:
    """Connections that are accepted but not served would wait until the service has ended."""
    form = httpx.Request("POST", "http://x", files={"image": PICTURE}, data=LONG)
    headers = [f"{name}: {form.headers[name]}" for name in ("content-type", "content-length")]
    body = form.read()
    with (
        running_service(body_timeout_s=600, grace_period_s=600) as service,
        open_connection(service.url) as upload,
    ):
        upload.sendall(request("POST", "/v1/ground", *headers, "Expect: 100-continue"))
        assert upload.recv(65536).startswith(b"HTTP/1.1 100 ")
        upload.sendall(body[:-1])
        service.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: _is_refused(service.url))
        upload.sendall(body[-1:])
        assert receive(upload).status == 200
        assert service.process.wait(timeout=60) == 0


def _is_refused(url: str) -> bool:
    try:
        with open_connection(url):
            return False
    except ConnectionRefusedError:
        return True


@pytest.mark.skipif(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN, reason="run by nohup")
def test_running_requests_are_finished_after_the_terminal_was_closed(
    endless_checkpoint: Path,
) -> None:
    with running_service(model=endless_checkpoint) as service, ThreadPoolExecutor() as pool:
        waiting = pool.submit(request_caption, service.url, **LONG)
        assert eventually(lambda: is_running_one(service))
        assert service.stop(signal.SIGHUP) == 0
        assert waiting.result().status_code == 200


def test_requests_that_exceed_the_grace_period_get_unavailable(endless_checkpoint: Path) -> None:
    with (
        running_service(model=endless_checkpoint, grace_period_s=0) as service,
        ThreadPoolExecutor() as pool,
    ):
        waiting = pool.submit(request_caption, service.url, **LONG)
        assert eventually(lambda: is_running_one(service))
        assert service.stop() == 0
        assert waiting.result().status_code == 503
        assert waiting.result().json()["code"] == "unavailable"


def test_all_processes_end_after_the_supervisor_was_killed(endless_checkpoint: Path) -> None:
    """A killed supervisor cannot send any message."""
    with running_service(model=endless_checkpoint) as service:
        children = psutil.Process(service.process.pid).children(recursive=True)
        assert len(children) >= 2
        service.process.kill()
        ended, alive = psutil.wait_procs(children, timeout=60)
        assert len(ended) == len(children)
        assert alive == []
        service.process.communicate()
