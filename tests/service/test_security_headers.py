"""Headers of every response that forbid browsers to cache, sniff, frame and load resources."""

import re
from urllib.parse import urljoin

import httpx
import pytest

from harness.service import RunningService
from harness.wire import open_connection, receive
from tests.service.test_ground import ask

PATHS = ("/v1/tasks", "/v1/ground", "/livez", "/metrics", "/docs", "/openapi.json", "/nowhere")


@pytest.mark.parametrize("path", PATHS)
def test_every_response_has_the_headers(client: httpx.Client, path: str) -> None:
    """Errors have them too."""
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_answers_are_not_cached(client: httpx.Client) -> None:
    """They describe a user's picture."""
    for stream in ("true", "false"):
        response = ask(client, task="brief_caption", max_new_tokens="1", stream=stream)
        assert response.headers["Cache-Control"] == "no-store"


def test_the_response_to_invalid_http_has_the_headers(service: RunningService) -> None:
    with open_connection(service.url) as connection:
        connection.sendall(b"hello\r\n\r\n")
        assert b"\r\nx-content-type-options: nosniff" in receive(connection).head


def test_the_documentation_page_loads_and_runs_only_its_own_resources(client: httpx.Client) -> None:
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


def test_the_documentation_page_works_behind_a_prefix(client: httpx.Client) -> None:
    """All links of the page keep the prefix `/kosmos` of a proxy that strips it."""
    page = client.get("/docs").text
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)["']|url: '([^']+)'""", page)
    seen = {urljoin("https://host/kosmos/docs", first or second) for first, second in addresses}
    assert "https://host/kosmos/openapi.json" in seen
    assert all(address.startswith("https://host/kosmos/") for address in seen)
    [server] = client.get("/openapi.json").json()["servers"]
    assert urljoin("https://host/kosmos/openapi.json", server["url"]) == "https://host/kosmos/"


def test_no_header_names_the_server_software(client: httpx.Client) -> None:
    """Only `/version` reports the version of the service."""
    assert "Server" not in client.get("/livez").headers
    assert "X-Powered-By" not in client.get("/livez").headers


def test_the_service_never_redirects(client: httpx.Client) -> None:
    """A redirect would use the host that the request names."""
    response = client.get("/v1/tasks/", headers={"Host": "other.example"})
    assert response.status_code == 404
    assert "Location" not in response.headers
