"""The load balancer keeps its promises, with the shipped configuration."""

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPResponse
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event
from time import monotonic
from typing import Any

import httpx
import pytest

from app.settings import Settings
from harness import loopback
from harness.deployment import Balancer, free_address, running_balancer
from harness.dying_replica import dying_replica
from harness.events import events_of
from harness.repeating_clients import SCENE, RepeatingClients
from harness.requirements import require_programs
from harness.standard_servers import running_server
from harness.waiting import eventually
from harness.wire import open_connection, receive, request
from tests.clients.deployment.conftest import Deployment

NUM_CLIENTS = 4
# The size of the balancer's buffer: it reads this much of a body before it chooses a replica.
KEPT_BYTES = 16_384


@pytest.fixture(scope="module")
def lonely_balancer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """A balancer without replicas, which waits one second for headers."""
    require_programs("haproxy")
    folder = tmp_path_factory.mktemp("lonely")
    changes = {"timeout http-request 10s": "timeout http-request 1s"}
    with running_balancer(folder, (free_address(), free_address()), changes) as balancer:
        yield balancer


def test_load_is_spread_over_the_replicas(deployment: Deployment) -> None:
    """With least connections and several clients, both replicas get requests."""
    clients = RepeatingClients(deployment.balancer.url, NUM_CLIENTS)
    with clients.running():
        clients.wait_for(20)
    assert set(clients.final) == {200}
    for replica in deployment.replicas:
        labels = '{door="kosmos2",outcome="completed",task="brief_caption"}'
        assert replica.service.metric(f"kosmos2_requests_total{labels}") > 0


def test_replicas_are_replaced_without_a_failed_request(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rolling upgrade: each replica is stopped and replaced while clients send requests."""
    clients = RepeatingClients(deployment.balancer.url, NUM_CLIENTS)
    with clients.running():
        clients.wait_for(NUM_CLIENTS)
        for replica in deployment.replicas:
            assert replica.stop() == 0
            clients.wait_for(NUM_CLIENTS)
            replica.start()
            deployment.wait_for_both()
            clients.wait_for(NUM_CLIENTS)
    with capsys.disabled():
        print(f"\nrolling restart: {clients.first.total()} requests, {dict(clients.first)}")
    assert set(clients.first) == {200}


def test_requests_of_a_killed_replica_get_502_and_succeed_when_sent_again(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """Requests that had not reached it are sent to the other replica instead."""
    balancer, (first, _) = deployment.balancer, deployment.replicas

    def count(name: str) -> float:
        return balancer.metric(name, proxy="replicas", server="replica-1")

    def num_lost() -> float:
        return count("haproxy_server_response_errors_total")

    def num_redispatched() -> float:
        return count("haproxy_server_redispatch_warnings_total")

    lost, redispatched = num_lost(), num_redispatched()
    clients = RepeatingClients(balancer.url, NUM_CLIENTS)
    with clients.running():
        clients.wait_for(NUM_CLIENTS)
        assert eventually(lambda: first.service.metric("kosmos2_num_requests_running") > 0)
        first.kill()
        clients.wait_for(2 * NUM_CLIENTS)
        first.start()
        deployment.wait_for_both()
    with capsys.disabled():
        counts = f"{num_redispatched() - redispatched:.0f} redispatched"
        print(f"\nkilled: {clients.first.total()} requests, {dict(clients.first)}, {counts}")
    assert set(clients.first) == {200, 502}
    assert set(clients.final) == {200}
    assert num_lost() - lost >= clients.first[502]
    assert num_redispatched() > redispatched


def test_a_request_that_kills_its_replica_always_gets_502(tmp_path: Path) -> None:
    """Also if its body is sent after its headers, as most clients do."""
    require_programs("haproxy")
    head = request("POST", "/v1/ground", "Content-Length: 10000")
    with (
        dying_replica() as replica,
        running_balancer(tmp_path, (replica, free_address())) as balancer,
    ):
        assert eventually(lambda: balancer.num_ready == 1)
        # Without http-buffer-request, two of five such requests were closed without an answer.
        for _ in range(30):
            with open_connection(balancer.url) as connection:
                connection.sendall(head)
                connection.sendall(bytes(10_000))
                assert receive(connection).status == 502


def test_events_are_forwarded_without_delay(deployment: Deployment) -> None:
    """They are spread over the time of the answer instead of arriving together at its end."""
    data = {"task": "detailed_caption", "stream": "true"}
    url = f"{deployment.balancer.url}/v1/ground"
    with loopback.stream("POST", url, files={"image": SCENE}, data=data, timeout=120) as response:
        arrivals = [(monotonic(), event) for event in events_of(response)]
    (first_at, _), (last_at, done) = arrivals[0], arrivals[-1]
    timings = done.data["timings"]
    assert done.name == "done"
    # Half, because a busy machine may deliver the first events late.
    assert last_at - first_at > 0.5 * (timings["total_s"] - timings["time_to_first_token_s"])


def test_a_replica_notices_that_the_client_has_disconnected(tmp_path: Path) -> None:
    """Otherwise it would finish an answer without a recipient."""
    require_programs("haproxy")
    received, disconnected = Event(), Event()

    class Replica(BaseRequestHandler):
        def handle(self) -> None:
            if self.request.recv(65536).startswith(b"GET /readyz "):
                self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                return
            received.set()
            self.request.settimeout(30)
            with suppress(ConnectionResetError):
                self.request.recv(65536)
            disconnected.set()

    with (
        running_server(ThreadingTCPServer(("127.0.0.1", 0), Replica)) as address,
        running_balancer(tmp_path, (address, free_address())) as balancer,
    ):
        assert eventually(lambda: balancer.num_ready == 1)
        with open_connection(balancer.url) as connection:
            connection.sendall(request("POST", "/v1/ground", "Content-Length: 1", body=b"x"))
            assert received.wait(30)
        assert disconnected.wait(5)


def test_the_request_id_is_the_same_on_both_sides(deployment: Deployment) -> None:
    """An operator can find the same request in both logs."""
    balancer = deployment.balancer
    with httpx.Client(base_url=balancer.url, timeout=60) as client:
        named = client.get("/v1/tasks", headers={"X-Request-ID": "shelf-7"})
        renamed = client.get("/v1/tasks", headers={"X-Request-ID": "not a name"})
    assert named.headers["X-Request-ID"] == "shelf-7"
    assert renamed.headers["X-Request-ID"] != "not a name"
    ids = {"shelf-7", renamed.headers["X-Request-ID"]}
    assert eventually(lambda: ids <= {line["request_id"] for line in requests_logged(balancer)})


def test_the_log_contains_no_user_data(lonely_balancer: Balancer) -> None:
    """Not even the path, which can contain anything."""
    response = loopback.get(f"{lonely_balancer.url}/my-secret?and=another-one")
    request_id = response.headers["X-Request-ID"]
    assert eventually(lambda: request_id in lonely_balancer.log_file.read_text())
    log = lonely_balancer.log_file.read_text()
    assert "secret" not in log
    assert "another-one" not in log
    assert all("127.0.0.1" not in str(line) for line in requests_logged(lonely_balancer))


@pytest.mark.parametrize("path", ["/metrics", "/%6detrics", "/metrics?format=text"])
def test_metrics_are_not_public(deployment: Deployment, path: str) -> None:
    """The metrics of a random replica would also be useless."""
    response = loopback.get(f"{deployment.balancer.url}{path}")
    assert is_problem(response, 404, "not_found")


def test_a_body_over_the_limit_is_rejected_before_it_is_read(lonely_balancer: Balancer) -> None:
    """The balancer's limit equals the service's default."""
    length = Settings().max_body_bytes + 1
    head = f"POST /v1/ground HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    assert is_problem(send(lonely_balancer, head), 413, "payload_too_large")
    # The next smaller length passes the limit and fails later, because there is no replica.
    within = head.replace(str(length), str(length - 1)) + "x" * KEPT_BYTES
    assert send(lonely_balancer, within).status_code == 503


def test_incomplete_headers_time_out(lonely_balancer: Balancer) -> None:
    """Otherwise a few slow clients could occupy all connections."""
    assert send(lonely_balancer, "POST /v1/gr").status_code == 408


def test_without_a_replica_clients_get_503_with_retry_after(lonely_balancer: Balancer) -> None:
    response = loopback.get(f"{lonely_balancer.url}/v1/tasks")
    assert is_problem(response, 503, "unavailable")
    assert int(response.headers["Retry-After"]) >= 1
    assert response.headers["X-Request-ID"] == response.json()["request_id"]


def requests_logged(balancer: Balancer) -> list[dict[str, Any]]:
    """Return the log entries of all requests so far."""
    lines = balancer.log_file.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def send(balancer: Balancer, text: str) -> httpx.Response:
    """Send raw bytes and return the response."""
    address = httpx.URL(balancer.url)
    with socket.create_connection((address.host, address.port or 80), timeout=60) as connection:
        connection.sendall(text.encode())
        response = HTTPResponse(connection)
        response.begin()
        headers, body = response.getheaders(), response.read()
    return httpx.Response(response.status, headers=headers, content=body)


def is_problem(response: httpx.Response, status: int, code: str) -> bool:
    """Return whether a response is an error in the service's own format."""
    problem = response.json()
    reported = (response.status_code, problem["status"], problem["code"])
    kind = response.headers["Content-Type"]
    return reported == (status, status, code) and kind == "application/problem+json"
