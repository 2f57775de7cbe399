"""Damaged pictures and damaged requests, sent to a running service: it answers all, and lives."""

import re
import socket
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.fuzz.counts import show_counts
from tests.fuzz.mutants import mutants
from tests.support.formats import ALL_FILES
from tests.support.pictures import picture_file
from tests.support.service import RunningService, running_service

FULL = 75  # of each file: 2,025 in all
SHORT = 1
FULL_REQUESTS, SHORT_REQUESTS = 500, 10  # of each kind
ASKED = {"task": "brief_caption", "max_new_tokens": "1"}
_STATUS = re.compile(rb"HTTP/1\.1 (\d\d\d) ")


@pytest.fixture(scope="module")
def service() -> Iterator[RunningService]:
    with running_service(max_body_bytes=200_000, max_image_pixels=1_000_000) as running:
        yield running


def processes_of(service: RunningService) -> set[int]:
    return {child.pid for child in psutil.Process(service.process.pid).children(recursive=True)}


@pytest.mark.parametrize("count", [SHORT, pytest.param(FULL, marks=pytest.mark.large)])
def test_every_damaged_picture_is_answered(service: RunningService, count: int) -> None:
    """As a client's fault or not at all; no process of the service ends."""
    counts, before = {name: Counter[str]() for name in ALL_FILES}, processes_of(service)
    with httpx.Client(base_url=service.url, timeout=120) as client:
        for name, data in ALL_FILES.items():
            for mutant in mutants(data, count, f"http {name}"):
                response = client.post("/v1/ground", files={"image": mutant}, data=ASKED)
                code = "" if response.is_success else response.json()["code"]
                counts[name][f"{response.status_code} {code}"] += 1
    show_counts(counts)
    total = sum(counts.values(), Counter[str]())
    assert total.total() == count * len(ALL_FILES)
    assert {end[0] for end in total} <= {"2", "4"}
    assert processes_of(service) == before


def as_bytes(request: httpx.Request) -> bytes:
    """A request as it goes over the wire."""
    lines = [f"{request.method} {request.url.raw_path.decode()} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([*lines, "\r\n"]).encode() + request.read()


def requests(url: str) -> dict[str, bytes]:
    """One of each kind, small enough for its words to be damaged more often than its picture."""
    picture = picture_file((32, 32))
    uri = "data:;base64,iVBORw0KGgo="
    box = {"boxes": [[1, 2, 30, 31]]}
    entity = {"phrase": "a disc", "boxes": [{"xyxy": [1, 2, 30, 31], "score": 0.5}]}
    region = {"image": uri, "task": "referring_expression_generation", "regions": [box]}
    kinds = {
        "form": httpx.Request("POST", f"{url}/v1/ground", files={"image": picture}, data=ASKED),
        "JSON": httpx.Request("POST", f"{url}/v1/ground", json={"image": uri} | ASKED),
        "regions": httpx.Request("POST", f"{url}/v1/ground", json=region),
        "drawing": httpx.Request(
            "POST", f"{url}/v1/annotate", json={"image": uri, "entities": [entity]}
        ),
        "no body": httpx.Request("GET", f"{url}/v1/tasks", headers={"Accept": "application/json"}),
    }
    return {name: as_bytes(request) for name, request in kinds.items()}


def status_of(url: str, request: bytes) -> str:
    """The status that the first answer on a connection has; a request's sender stops after it."""
    address = urlsplit(url)
    received = b""
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                received += part
        except ConnectionError:
            pass  # the service need not read on
    found = _STATUS.match(received)
    return found[1].decode() if found else "closed"


@pytest.mark.parametrize(
    "count", [SHORT_REQUESTS, pytest.param(FULL_REQUESTS, marks=pytest.mark.large)]
)
def test_every_damaged_request_is_answered_or_its_connection_closed(
    service: RunningService, count: int
) -> None:
    """Damaged anywhere: request line, headers, lengths, boundaries, JSON, base64."""
    counts, before = dict[str, Counter[str]](), processes_of(service)
    for name, data in requests(service.url).items():
        damaged = mutants(data, count, f"request {name}")
        counts[name] = Counter(status_of(service.url, request) for request in damaged)
    show_counts(counts)
    total = sum(counts.values(), Counter[str]())
    assert total.total() == count * len(counts)
    assert not [end for end in total if end.startswith("5")]
    assert total["200"] < total.total() / 2
    assert httpx.get(f"{service.url}/readyz").status_code == 200
    assert processes_of(service) == before
