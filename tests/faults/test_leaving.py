"""Every accepted request is answered exactly once, whoever leaves or dies."""

import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from harness.asking import PICTURE, ask, child_of
from harness.service import RunningService, running_service
from harness.waiting import eventually
from harness.wire import connected, receive, request

LONG = {"task": "brief_caption", "max_new_tokens": "400"}


def is_running_one(service: RunningService) -> bool:
    return service.metric("kosmos2_num_requests_running") == 1


def test_a_client_that_leaves_frees_its_place(tireless: Path) -> None:
    """With one slot and no waiting place, nobody else could be served otherwise."""
    with running_service(model=tireless, slots=1, max_waiting=0) as service:
        request = httpx.Request(
            "POST", f"{service.url}/v1/ground", files={"image": PICTURE}, data=LONG
        )
        address = request.url.host, request.url.port or 80
        with socket.create_connection(address) as connection:
            head = f"POST /v1/ground HTTP/1.1\r\nHost: {request.url.host}\r\n"
            kept = ("content-type", "content-length")
            head += "".join(f"{name}: {request.headers[name]}\r\n" for name in kept)
            connection.sendall(head.encode() + b"\r\n" + request.read())
            assert eventually(lambda: is_running_one(service))
            refused = ask(service.url)
            assert refused.status_code == 503
            assert refused.json()["code"] == "overloaded"
            assert int(refused.headers["Retry-After"]) >= 1
        assert eventually(lambda: ask(service.url).status_code == 200)
        labels = '{outcome="cancelled",task="brief_caption"}'
        assert service.metric(f"kosmos2_requests_total{labels}") == 1
        assert service.metric("kosmos2_kv_slots_used") == 0


def test_a_full_service_refuses_at_the_headers(tireless: Path) -> None:
    """Whoever would send megabytes is told before; what they send all the same does no harm."""
    body = b"x" * 500_000
    head = request("POST", "/v1/ground", "Content-Type: a/b", f"Content-Length: {len(body)}")
    with running_service(model=tireless, slots=1, max_waiting=0) as service:
        with ThreadPoolExecutor(1) as pool, connected(service.url) as connection:
            pool.submit(ask, service.url, **LONG)
            assert eventually(lambda: is_running_one(service))
            connection.sendall(head)
            refused = receive(connection)
            assert (refused.status, refused.content["code"]) == (503, "overloaded")
            connection.sendall(body + request("GET", "/v1/tasks"))
            assert receive(connection).status == 200
        rejected = '{outcome="rejected",task="unknown"}'
        assert service.metric(f"kosmos2_requests_total{rejected}") == 1


def test_the_places_are_the_services_whatever_the_number_of_its_http_processes(
    tireless: Path,
) -> None:
    """One slot and one waiting place take two requests, and refuse the others at once."""
    with (
        running_service(model=tireless, http_workers=3, slots=1, max_waiting=1) as service,
        ThreadPoolExecutor(12) as pool,
    ):
        asked = [pool.submit(ask, service.url, **LONG) for _ in range(12)]
        statuses = sorted(response.result().status_code for response in asked)
        assert statuses == [200] * 2 + [503] * 10
        assert service.metric("kosmos2_http_workers") == 3


def test_a_request_whose_time_is_over_is_told(tireless: Path) -> None:
    with running_service(model=tireless, deadline_s=0.05) as service:
        response = ask(service.url, **LONG)
        assert response.status_code == 504
        assert response.json()["code"] == "deadline_exceeded"


def test_when_an_http_process_is_killed_another_takes_its_place(tireless: Path) -> None:
    """Its requests leave the engine, its permits come back."""
    with running_service(model=tireless, slots=1, max_waiting=0) as service:
        connection = httpx.Client()
        thread = threading.Thread(target=_ignore_the_answer, args=(connection, service.url))
        thread.start()
        assert eventually(lambda: is_running_one(service))
        child_of(service, "app.http.process").kill()
        thread.join()
        connection.close()
        assert eventually(lambda: _is_served(service.url))


def _ignore_the_answer(connection: httpx.Client, url: str) -> None:
    with pytest.raises(httpx.TransportError):
        connection.post(f"{url}/v1/ground", files={"image": PICTURE}, data=LONG, timeout=120)


def _is_served(url: str) -> bool:
    try:
        return ask(url).status_code == 200
    except httpx.TransportError:
        return False


def test_on_sigterm_what_runs_is_finished(tireless: Path) -> None:
    """And nobody is sent here any more."""
    with running_service(model=tireless, drain_delay_s=3) as service, ThreadPoolExecutor() as pool:
        waiting = pool.submit(ask, service.url, **LONG)
        assert eventually(lambda: is_running_one(service))
        service.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: httpx.get(f"{service.url}/readyz").status_code == 503)
        late = ask(service.url)
        assert late.status_code == 200
        assert late.headers["Connection"] == "close"
        assert waiting.result().status_code == 200
        service.process.communicate(timeout=60)
        assert service.process.returncode == 0


def test_what_outlives_the_grace_period_is_answered_unavailable(tireless: Path) -> None:
    with (
        running_service(model=tireless, grace_period_s=0) as service,
        ThreadPoolExecutor() as pool,
    ):
        waiting = pool.submit(ask, service.url, **LONG)
        assert eventually(lambda: is_running_one(service))
        assert service.stop() == 0
        assert waiting.result().status_code == 503
        assert waiting.result().json()["code"] == "unavailable"


def test_without_its_supervisor_no_process_stays(tireless: Path) -> None:
    """Not even when it is killed and can tell nobody."""
    with running_service(model=tireless) as service:
        children = psutil.Process(service.process.pid).children(recursive=True)
        assert len(children) >= 2
        service.process.kill()
        gone, alive = psutil.wait_procs(children, timeout=60)
        assert len(gone) == len(children)
        assert alive == []
        service.process.communicate()
