"""Uploads through HAProxy and nginx, with the files that are shipped: no 502, no wrong answer."""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from harness import loopback
from harness.answers import are_same
from harness.events import events_of
from harness.nginx import running_nginx
from harness.proxies import PROXIES, running_proxies
from harness.requirements import require_programs
from harness.service import RunningService
from harness.waiting import eventually
from harness.wire import open_connection, receive, request
from tests.clients.conftest import FIELDS, PICTURES
from tests.clients.programs import form
from tests.clients.upload import Upload

FORM = "Content-Type: multipart/form-data; boundary=B"
OFFERS = {
    "Java": ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAA"),
    "WebSocket": ("Connection: keep-alive, Upgrade", "Upgrade: websocket"),
}
# Around 60 s, after which nginx drops an idle connection to a replica.
IDLE_S = (58.0, 59.5, 59.8, 59.9, 60.0, 60.1, 60.2, 60.5, 62.0)
ONE_CONNECTION = httpx.Limits(max_connections=1, keepalive_expiry=None)
NUM_CONNECTIONS = 4
ROUNDS = 3


@pytest.fixture(scope="session")
def proxies(
    service: RunningService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, str]]:
    require_programs("haproxy", "nginx")
    with running_proxies(service.url, tmp_path_factory.mktemp("proxies")) as urls:
        yield urls


@pytest.fixture(params=PROXIES)
def proxy(request: pytest.FixtureRequest, proxies: Mapping[str, str]) -> str:
    return proxies[request.param]


def body_of(picture: Path, fields: Mapping[str, str] = FIELDS) -> bytes:
    return form(Upload(picture, fields), "B")


def upload_of(picture: Path, *headers: str) -> bytes:
    body = body_of(picture)
    head = (FORM, f"Content-Length: {len(body)}", *headers)
    return request("POST", "/v1/ground", *head, body=body)


def in_parallel(function: Callable[[Any], None], items: Any) -> None:
    """Call the function with each item in a thread of its own, and raise what one raises."""
    with ThreadPoolExecutor(len(items)) as threads:
        for done in [threads.submit(function, item) for item in items]:
            done.result()


def test_each_answer_belongs_to_its_own_picture(proxy: str, expected: Mapping[Path, Any]) -> None:
    """On connections that carry different pictures, at the same time."""

    def upload_all(offset: int) -> None:
        with httpx.Client(base_url=proxy, timeout=120) as client:
            for number in range(ROUNDS * len(PICTURES)):
                picture = PICTURES[(number + offset) % len(PICTURES)]
                files = {"image": picture.read_bytes()}
                response = client.post("/v1/ground", files=files, data=FIELDS)
                assert response.status_code == 200
                assert are_same(response.json(), expected[picture])

    in_parallel(upload_all, range(NUM_CONNECTIONS))


def test_events_arrive_as_they_are_made(proxy: str) -> None:
    """Also through nginx, which buffers answers by default."""
    files = {"image": PICTURES[1].read_bytes()}
    data = {"task": "detailed_caption", "stream": "true"}
    url = f"{proxy}/v1/ground"
    with loopback.stream("POST", url, files=files, data=data, timeout=120) as response:
        arrivals = [(monotonic(), event) for event in events_of(response)]
    (first_at, _), (last_at, done) = arrivals[0], arrivals[-1]
    timings = done.data["timings"]
    assert done.name == "done"
    assert last_at - first_at > 0.5 * (timings["total_s"] - timings["time_to_first_token_s"])


@pytest.mark.parametrize("seconds", [8, 20])
def test_a_slow_upload_is_answered(
    proxy: str, expected: Mapping[Path, Any], seconds: float
) -> None:
    """A phone on a weak network sends a little at a time, without a long pause."""
    picture = PICTURES[-1]
    body = body_of(picture)
    size = 500
    pause_s = seconds * size / len(body)

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), size):
            sleep(pause_s)
            yield body[start : start + size]

    headers = dict([FORM.split(": "), ("Content-Length", str(len(body)))])
    url = f"{proxy}/v1/ground"
    response = loopback.post(url, content=pieces(), headers=headers, timeout=120)
    assert response.status_code == 200, response.text
    assert are_same(response.json(), expected[picture])


@pytest.mark.parametrize("offer", OFFERS)
def test_an_offer_of_another_protocol_changes_no_answer(
    proxy: str, expected: Mapping[Path, Any], offer: str
) -> None:
    """The next requests, on the same and on other connections, get their own answers, too."""

    def upload_all(offset: int) -> None:
        for number in range(ROUNDS):
            picture = PICTURES[(number + offset) % len(PICTURES)]
            for headers in (OFFERS[offer], ()):
                with open_connection(proxy) as connection:
                    connection.sendall(upload_of(picture, *headers))
                    response = HTTPResponse(connection)
                    response.begin()
                    text = response.read()
                    assert response.status == 200, text
                    assert are_same(httpx.Response(200, content=text).json(), expected[picture])

    in_parallel(upload_all, range(NUM_CONNECTIONS))


@pytest.mark.parametrize("offer", OFFERS)
def test_a_request_inside_a_body_is_never_answered(
    proxy: str, expected: Mapping[Path, Any], offer: str
) -> None:
    """Its answer would be sent to the next client on the same connection to the replica."""
    inner = request("GET", "/version")
    headers = (*OFFERS[offer], "Content-Type: application/json", f"Content-Length: {len(inner)}")
    smuggler = request("POST", "/v1/ground", *headers, body=inner)
    for picture in PICTURES:
        with open_connection(proxy) as connection:
            connection.sendall(smuggler)
            response = HTTPResponse(connection)
            response.begin()
            assert response.status == 400
        files = {"image": picture.read_bytes()}
        response = loopback.post(f"{proxy}/v1/ground", files=files, data=FIELDS, timeout=60)
        assert response.status_code == 200
        assert are_same(response.json(), expected[picture])


def test_the_log_of_nginx_contains_no_user_data(service: RunningService, tmp_path: Path) -> None:
    """Neither that of accesses nor that of errors, to which a body over the limit is written."""
    require_programs("nginx")
    address = urlsplit(service.url).netloc
    too_long = request("POST", "/v1/ground?text=my-secret", f"Content-Length: {10**8}")
    with running_nginx(tmp_path, (address, address)) as url:
        with open_connection(url) as connection:
            connection.sendall(too_long)
            assert receive(connection).status == 413
        accesses = tmp_path / "access.log"
        assert eventually(lambda: '"status":413' in accesses.read_text())
    assert "secret" not in accesses.read_text() + (tmp_path / "nginx.log").read_text()


def test_a_connection_is_reused_after_a_minute(
    service: RunningService, proxies: Mapping[str, str], expected: Mapping[Path, Any]
) -> None:
    """Where one side closes an idle connection as the other sends on it, a client sees 502."""
    urls = (service.url, *proxies.values())
    started = threading.Barrier(len(urls) * len(IDLE_S))

    def upload_twice(connection: tuple[str, float]) -> None:
        url, idle_s = connection
        with httpx.Client(base_url=url, timeout=120, limits=ONE_CONNECTION) as client:
            check_upload(client, PICTURES[0])
            started.wait(timeout=120)
            sleep(idle_s)
            check_upload(client, PICTURES[-1])

    def check_upload(client: httpx.Client, picture: Path) -> None:
        files = {"image": picture.read_bytes()}
        response = client.post("/v1/ground", files=files, data=FIELDS)
        assert response.status_code == 200, response.text
        assert are_same(response.json(), expected[picture])

    in_parallel(upload_twice, [(url, idle_s) for url in urls for idle_s in IDLE_S])
