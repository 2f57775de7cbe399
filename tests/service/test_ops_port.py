"""With `ops_port`, only that port serves health and metrics, and it serves nothing else."""

import socket
from collections.abc import Iterator

import pytest

from app.http.routes.ops import OPS_PATHS
from harness import loopback
from harness.service import RunningService, running_service

KEY = {"Authorization": "Bearer key"}


@pytest.fixture(scope="module")
def ports() -> Iterator[tuple[RunningService, str]]:
    """Yield a service and the URL of its operations port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with running_service(ops_port=port, api_keys="key", http_workers=2) as running:
        yield running, f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("path", OPS_PATHS)
def test_only_the_ops_port_serves_health_and_metrics(
    ports: tuple[RunningService, str], path: str
) -> None:
    service, ops = ports
    assert loopback.get(ops + path).status_code == 200
    hidden = loopback.get(service.url + path, headers=KEY)
    assert (hidden.status_code, hidden.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "path", ["/v1/tasks", "/version", "/docs", "/openapi.json", "/livez/", "//livez", "/nowhere"]
)
def test_the_ops_port_serves_nothing_else(ports: tuple[RunningService, str], path: str) -> None:
    """An operator may open this port to other networks."""
    _, ops = ports
    hidden = loopback.get(ops + path, headers=KEY)
    assert (hidden.status_code, hidden.json()["code"]) == (404, "not_found")


def test_headers_cannot_select_the_ops_port(
    ports: tuple[RunningService, str],
) -> None:
    """Any client can write a `Host` header."""
    service, ops = ports
    host = {"Host": ops.removeprefix("http://"), "X-Forwarded-Port": ops.rpartition(":")[2]}
    assert loopback.get(f"{service.url}/metrics", headers=KEY | host).status_code == 404


def test_the_main_port_serves_everything_else(ports: tuple[RunningService, str]) -> None:
    service, _ = ports
    assert loopback.get(f"{service.url}/v1/tasks", headers=KEY).status_code == 200
    assert loopback.get(f"{service.url}/v1/tasks").status_code == 401
