"""Damaged pictures and damaged requests, sent to a running service: it answers all, and lives."""

import base64
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


def as_bytes(request: httpx.Request, body: bytes | None = None) -> bytes:
    """A request as it goes over the wire, with another body if one is given."""
    content = request.read() if body is None else body
    request.headers["Content-Length"] = str(len(content))
    lines = [f"{request.method} {request.url.raw_path.decode()} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([*lines, "\r\n"]).encode() + content


def requests(url: str) -> dict[str, httpx.Request]:
    """One of each kind, small enough for its words to be damaged more often than its picture."""
    picture = picture_file((32, 32))
    uri = f"data:;base64,{base64.b64encode(picture).decode()}"
    box = {"boxes": [[1, 2, 30, 31]]}
    entity = {"phrase": "a disc", "boxes": [{"xyxy": [1, 2, 30, 31], "score": 0.5}]}
    region = {"task": "referring_expression_generation", "regions": [box], "max_new_tokens": 1}
    asked = {"task": "phrase_grounding", "text": "a disc", "max_new_tokens": 1}
    ground, annotate = f"{url}/v1/ground", f"{url}/v1/annotate"
    return {
        "form": httpx.Request("POST", ground, files={"image": picture}, data=ASKED),
        "JSON": httpx.Request("POST", ground, json=asked | {"image": uri}),
        "regions": httpx.Request("POST", ground, json=region | {"image": uri}),
        "drawing": httpx.Request("POST", annotate, json={"entities": [entity], "image": uri}),
        "no body": httpx.Request("GET", f"{url}/v1/tasks", headers={"Accept": "application/json"}),
    }


def damaged(request: httpx.Request, name: str, count: int) -> Iterator[bytes]:
    """So many of its copies damaged anywhere, and so many in their body alone."""
    yield from mutants(as_bytes(request), count, f"request {name}")
    for body in mutants(request.read(), count, f"body {name}"):
        yield as_bytes(request, body)


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
    for name, request in requests(service.url).items():
        sent = damaged(request, name, count)
        counts[name] = Counter(status_of(service.url, each) for each in sent)
    show_counts(counts)
    total = sum(counts.values(), Counter[str]())
    assert total.total() == 2 * count * len(counts)
    assert not [end for end in total if end.startswith("5")]
    assert {"200", "400", "422"} <= total.keys()
    assert httpx.get(f"{service.url}/readyz").status_code == 200
    assert processes_of(service) == before
