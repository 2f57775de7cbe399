"""The health check of the image, run by the Python of the tests."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness.standard_servers import running_server
from tests.deploy.test_files import DOCKERFILE

pytestmark = pytest.mark.processes


class Readiness(BaseHTTPRequestHandler):
    """Answers every path but `/readyz` with 503."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 503)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Suppress the log."""


@pytest.fixture
def port() -> Iterator[str]:
    with running_server(ThreadingHTTPServer(("127.0.0.1", 0), Readiness)) as address:
        yield address.partition(":")[2]


def check(code: str, **environment: str) -> int:
    """Run the code of a health check and return its exit code."""
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, stderr=subprocess.DEVNULL
    ).returncode


@pytest.fixture(scope="module")
def code() -> str:
    (command,) = re.findall(r"^HEALTHCHECK .* CMD (\[.*?\])$", DOCKERFILE, re.DOTALL | re.MULTILINE)
    python, option, code = json.loads(command.replace("\\\n", ""))
    assert (python, option) == ("python", "-c")
    return str(code)


def test_it_succeeds_only_if_the_service_is_ready(code: str, port: str) -> None:
    assert check(code, KOSMOS2_PORT=port) == 0
    assert check(code, KOSMOS2_PORT="1", KOSMOS2_OPS_PORT=port) == 0
    assert check(code.replace("/readyz", "/livez"), KOSMOS2_PORT=port) == 1


def test_it_ignores_a_proxy(code: str, port: str) -> None:
    """Docker passes the proxies of its configuration to every container."""
    assert check(code, KOSMOS2_PORT=port, http_proxy="http://127.0.0.1:1", no_proxy="") == 0
