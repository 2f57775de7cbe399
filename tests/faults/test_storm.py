"""Clients that disconnect leak no resources of the service."""

import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from harness.fault_requests import PICTURE, request_caption
from harness.service import RunningService, running_service
from harness.waiting import eventually

CAPACITY = 16
WARM_UP = 2 * CAPACITY
MAX_GROWTH_BYTES = 48 * 2**20
_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset

Phase = Callable[[socket.socket, bytes, bytes], None]


@dataclass(frozen=True)
class Resources:
    """Resources that a process of the service holds."""

    num_descriptors: int
    num_threads: int
    resident_bytes: int


def headers_only(connection: socket.socket, head: bytes, body: bytes) -> None:
    connection.sendall(head)


def half_a_body(connection: socket.socket, head: bytes, body: bytes) -> None:
    connection.sendall(head + body[: len(body) // 2])


def whole_request(connection: socket.socket, head: bytes, body: bytes) -> None:
    connection.sendall(head + body)


def first_byte_of_the_answer(connection: socket.socket, head: bytes, body: bytes) -> None:
    connection.sendall(head + body)
    connection.recv(1)


PHASES: tuple[Phase, ...] = (headers_only, half_a_body, whole_request, first_byte_of_the_answer)


def disconnect(url: str, number: int) -> None:
    """Send a request up to a phase, then close or reset the connection, depending on `number`."""
    fields = {"task": "brief_caption", "max_new_tokens": "400", "stream": "true"}
    request = httpx.Request("POST", f"{url}/v1/ground", files={"image": PICTURE}, data=fields)
    names = ("content-type", "content-length")
    head = f"POST /v1/ground HTTP/1.1\r\nHost: {request.url.host}\r\n"
    head += "".join(f"{name}: {request.headers[name]}\r\n" for name in names) + "\r\n"
    with socket.create_connection((request.url.host, request.url.port or 80)) as connection:
        if number % 2:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        PHASES[number // 2 % len(PHASES)](connection, head.encode(), request.read())


def storm(service: RunningService, num_clients: int) -> None:
    """Run clients that disconnect, as many at the same time as the service accepts."""
    with ThreadPoolExecutor(CAPACITY) as pool:
        for future in [pool.submit(disconnect, service.url, n) for n in range(num_clients)]:
            future.result()


def is_at_rest(service: RunningService) -> bool:
    """Return whether the engine holds no request."""
    names = ("num_requests_running", "num_requests_waiting", "kv_slots_used")
    return not any(service.metric(f"kosmos2_{name}") for name in names)


def held_by(service: RunningService) -> dict[int, Resources]:
    """Return the resources of each process that runs as long as the service, by process id."""
    supervisor = psutil.Process(service.process.pid)
    return {
        process.pid: Resources(process.num_fds(), process.num_threads(), process.memory_info().rss)
        for process in (supervisor, *supervisor.children())
    }


def has_no_leak(service: RunningService, before: dict[int, Resources]) -> bool:
    now = held_by(service)
    return now.keys() == before.keys() and all(
        now[pid].num_descriptors <= held.num_descriptors
        and now[pid].num_threads <= held.num_threads
        and now[pid].resident_bytes <= held.resident_bytes + MAX_GROWTH_BYTES
        for pid, held in before.items()
    )


def check_storm(model: Path, num_clients: int) -> None:
    with running_service(model=model, slots=4, max_waiting=CAPACITY - 4) as service:
        storm(service, WARM_UP)  # lets pools of threads and processes reach their size
        assert eventually(lambda: is_at_rest(service))
        before = held_by(service)
        storm(service, num_clients)
        assert eventually(lambda: is_at_rest(service))
        assert eventually(lambda: has_no_leak(service, before)), (before, held_by(service))
        with ThreadPoolExecutor(CAPACITY) as pool:
            responses = [pool.submit(request_caption, service.url) for _ in range(CAPACITY)]
            statuses = {future.result().status_code for future in responses}
        assert statuses == {200}
        cancelled = '{door="kosmos2",outcome="cancelled",task="brief_caption"}'
        assert service.metric(f"kosmos2_requests_total{cancelled}") > num_clients / len(PHASES)


def test_two_hundred_clients_that_disconnect_in_every_phase_leak_nothing(
    endless_checkpoint: Path,
) -> None:
    """Permits, slots, descriptors, threads and memory have their earlier values."""
    check_storm(endless_checkpoint, 200)


@pytest.mark.large
def test_a_thousand_clients_that_disconnect_in_every_phase_leak_nothing(
    endless_checkpoint: Path,
) -> None:
    """Detects leaks that happen once in a hundred requests."""
    check_storm(endless_checkpoint, 1000)
