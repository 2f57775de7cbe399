"""Without memory or file descriptors, the service does less in parallel and keeps running."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import psutil
import pytest

from harness import loopback
from harness.answers import are_same
from harness.fault_requests import request_caption
from harness.faulty_engine import LARGE, TOO_LARGE
from harness.processes import FAULTY_ENGINE, HTTP
from harness.service import RunningService, running_service
from harness.waiting import eventually

ROOM_BYTES = 3 * 2**29  # enough for one large row, not for two
FIELDS: dict[str, object] = {"max_new_tokens": 20}
NUM_REQUESTS = 6
RESTARTS = "kosmos2_engine_restarts_total"


def test_a_batch_too_large_for_the_memory_is_split(faulty_service: RunningService) -> None:
    """With a limit of the system; requests that fit alone are answered."""
    url, num_lines = faulty_service.url, len(faulty_service.log)
    num_restarts = faulty_service.metric(RESTARTS)
    undisturbed = request_caption(url, **FIELDS).json()
    engine = faulty_service.child(FAULTY_ENGINE)
    # Relative to the memory in use, which differs between machines.
    limit = engine.memory_info().vms + ROOM_BYTES
    unlimited = engine.rlimit(psutil.RLIMIT_AS)
    engine.rlimit(psutil.RLIMIT_AS, (limit, unlimited[1]))
    with ThreadPoolExecutor() as pool:
        large = [
            pool.submit(request_caption, url, **FIELDS, seed=LARGE) for _ in range(NUM_REQUESTS)
        ]
        too_large = pool.submit(request_caption, url, **FIELDS, seed=TOO_LARGE)
        assert are_same([future.result().json() for future in large], [undisturbed] * NUM_REQUESTS)
        assert too_large.result().json()["code"] == "engine_failure"
    engine.rlimit(psutil.RLIMIT_AS, unlimited)
    assert any("allocate memory" in line for line in faulty_service.log[num_lines:])
    assert faulty_service.metric(RESTARTS) == num_restarts


def test_without_descriptors_clients_wait_or_are_rejected(service: RunningService) -> None:
    """When descriptors are available again, the same process serves."""
    http = service.child(HTTP)
    limits = http.rlimit(psutil.RLIMIT_NOFILE)
    # The process can open four more descriptors; 30 connections need more than that.
    http.rlimit(psutil.RLIMIT_NOFILE, (http.num_fds() + 4, limits[1]))
    url = httpx.URL(service.url)
    with ExitStack() as connections:
        for _ in range(30):
            address = url.host, url.port or 80
            connections.enter_context(socket.create_connection(address))
        assert eventually(lambda: http.num_fds() >= http.rlimit(psutil.RLIMIT_NOFILE)[0])
    assert eventually(lambda: is_served(service.url))
    assert http.is_running()
    http.rlimit(psutil.RLIMIT_NOFILE, limits)


def test_the_soft_limit_of_descriptors_is_raised() -> None:
    """Shells, systemd and containers set it to 1024 for compatibility with old programs."""
    with running_service("harness.limited_descriptors", "256", "4000") as service:
        assert service.child(HTTP).rlimit(psutil.RLIMIT_NOFILE) == (4000, 4000)


@pytest.mark.parametrize("limit", [64, 256])
def test_silent_connections_do_not_block_other_clients(limit: int) -> None:
    """With more connections than descriptors, health checks work and the log stays short."""
    with (
        running_service(
            "harness.limited_descriptors", str(limit), str(limit), header_timeout_s=60
        ) as service,
        ExitStack() as connections,
    ):
        url = httpx.URL(service.url)
        for _ in range(2 * limit):
            address = url.host, url.port or 80
            connections.enter_context(socket.create_connection(address))
        assert loopback.get(f"{service.url}/readyz", timeout=10).status_code == 200
        assert is_served(service.url)
        assert len(service.log) < 30


def is_served(url: str) -> bool:
    """Return whether a request is answered."""
    try:
        return request_caption(url).status_code == 200
    except httpx.TransportError:
        return False
