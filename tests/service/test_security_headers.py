"""What every response tells browsers: keep nothing, guess nothing, frame nothing, load nothing."""

import re
from urllib.parse import urljoin

import httpx
import pytest

from harness.service import RunningService
from harness.wire import connected, receive
from tests.service.test_ground import ask

PATHS = ("/v1/tasks", "/v1/ground", "/livez", "/metrics", "/docs", "/openapi.json", "/nowhere")


@pytest.mark.parametrize("path", PATHS)
def test_every_response_carries_them(client: httpx.Client, path: str) -> None:
    """Errors too."""
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_answers_are_kept_by_nobody(client: httpx.Client) -> None:
    """They tell of somebody's picture."""
    for stream in ("true", "false"):
        response = ask(client, task="brief_caption", max_new_tokens="1", stream=stream)
        assert response.headers["Cache-Control"] == "no-store"


def test_what_is_no_request_is_answered_with_them_too(service: RunningService) -> None:
    with connected(service.url) as connection:
        connection.sendall(b"hello\r\n\r\n")
        assert b"\r\nx-content-type-options: nosniff" in receive(connection).head


def test_the_page_of_the_documentation_loads_and_runs_its_own_alone(client: httpx.Client) -> None:
    page = client.get("/docs")
    policy = page.headers["Content-Security-Policy"]
    assert "unsafe-inline" not in policy.partition("script-src")[2]
    assert "sha256-" in policy
    assert not re.search(r"\son\w+=", page.text)  # scripts that a hash would not cover
    loaded = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page.text)
    assert len(loaded) >= 3
    for address in loaded:
        assert address.startswith("./")
        assert client.get(urljoin("/docs", address)).status_code == 200


def test_the_page_of_the_documentation_stays_behind_a_prefix(client: httpx.Client) -> None:
    """A proxy that strips `/kosmos` gets every address of the page back with it."""
    page = client.get("/docs").text
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)["']|url: '([^']+)'""", page)
    seen = {urljoin("https://host/kosmos/docs", first or second) for first, second in addresses}
    assert "https://host/kosmos/openapi.json" in seen
    assert all(address.startswith("https://host/kosmos/") for address in seen)
    [server] = client.get("/openapi.json").json()["servers"]
    assert urljoin("https://host/kosmos/openapi.json", server["url"]) == "https://host/kosmos/"


def test_nobody_learns_what_serves(client: httpx.Client) -> None:
    """Versions are for operators; `/version` tells that of the service."""
    assert "Server" not in client.get("/livez").headers
    assert "X-Powered-By" not in client.get("/livez").headers


def test_no_redirect_leads_anywhere(client: httpx.Client) -> None:
    """Least of all to the host that the request names."""
    response = client.get("/v1/tasks/", headers={"Host": "other.example"})
    assert response.status_code == 404
    assert "Location" not in response.headers
