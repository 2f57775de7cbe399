"""Health and metrics on a port of their own are there and nowhere else."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from app.http.routes.ops import OPS_PATHS
from harness.service import RunningService, running_service

KEY = {"Authorization": "Bearer key"}


@pytest.fixture(scope="module")
def ports() -> Iterator[tuple[RunningService, str]]:
    """A service, and where its health and metrics are."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with running_service(ops_port=port, api_keys="key", http_workers=2) as running:
        yield running, f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("path", OPS_PATHS)
def test_health_and_metrics_are_on_their_port_alone(
    ports: tuple[RunningService, str], path: str
) -> None:
    service, ops = ports
    assert httpx.get(ops + path).status_code == 200
    hidden = httpx.get(service.url + path, headers=KEY)
    assert (hidden.status_code, hidden.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "path", ["/v1/tasks", "/version", "/docs", "/openapi.json", "/livez/", "//livez", "/nowhere"]
)
def test_nothing_else_is_on_their_port(ports: tuple[RunningService, str], path: str) -> None:
    """An operator may open it to other networks."""
    _, ops = ports
    hidden = httpx.get(ops + path, headers=KEY)
    assert (hidden.status_code, hidden.json()["code"]) == (404, "not_found")


def test_the_port_is_the_one_connected_to_and_not_the_one_named(
    ports: tuple[RunningService, str],
) -> None:
    """Anybody can write a header."""
    service, ops = ports
    host = {"Host": ops.removeprefix("http://"), "X-Forwarded-Port": ops.rpartition(":")[2]}
    assert httpx.get(f"{service.url}/metrics", headers=KEY | host).status_code == 404


def test_all_else_is_where_it_was(ports: tuple[RunningService, str]) -> None:
    service, _ = ports
    assert httpx.get(f"{service.url}/v1/tasks", headers=KEY).status_code == 200
    assert httpx.get(f"{service.url}/v1/tasks").status_code == 401
