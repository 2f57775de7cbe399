"""Answers Label Studio over HTTP: `/health`, `/setup`, `/predict` and `/webhook`."""

import base64
import hmac
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from kosmos2_client.errors import InvalidInput, Kosmos2ClientError
from kosmos2_client.label_studio.backend import Backend
from kosmos2_client.label_studio.config import read_label_config

MAX_BODY_BYTES = 16_000_000
MAX_TASKS = 1000
MAX_CONNECTIONS = 64
_BODY_TIMEOUT_S = 30.0
_MAX_PREDICTING = 2
"""Requests that are predicted at the same time; each runs several tasks in parallel."""

LOOPBACK_NAMES = {"127.0.0.1", "localhost", "[::1]"}

Reply = tuple[HTTPStatus, dict[str, Any]]


class Refused(Exception):
    """The request is refused before its body is used."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Credentials:
    """User and password of HTTP's basic authentication."""

    user: str
    password: str

    def match(self, header: str | None) -> bool:
        """Return whether a header `Authorization` has these credentials, in constant time."""
        pair = f"{self.user}:{self.password}".encode()
        expected = b"Basic " + base64.b64encode(pair)
        return hmac.compare_digest((header or "").encode("latin-1", "replace"), expected)


class BackendServer(ThreadingHTTPServer):
    """Serves a backend; `/health` is answered while predictions run.

    Args:
        address: host and port to listen on; port 0 chooses a free one.
        credentials: `None` accepts every caller, so listen on the loopback only.
        log: receives one line per request, without user data.
    """

    daemon_threads = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(
        self,
        address: tuple[str, int],
        backend: Backend,
        credentials: Credentials | None,
        log: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
    ) -> None:
        self.backend, self.credentials, self.log = backend, credentials, log
        self.predicting = threading.BoundedSemaphore(_MAX_PREDICTING)
        self._connections = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, or close it if there are too many."""
        if not self._connections.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer the requests of a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()


class _Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: BackendServer
    protocol_version = "HTTP/1.1"
    timeout = _BODY_TIMEOUT_S

    def version_string(self) -> str:
        """Return the header `Server`, without versions."""
        return "kosmos2-client"

    def log_message(self, *_arguments: object) -> None:
        """Log nothing; `_send` logs method, path and status."""

    def do_GET(self) -> None:
        """Answer `/health`, which needs no password, so that probes can read it."""
        if self.path in ("/", "/health"):
            self._send(HTTPStatus.OK, {"status": "UP", "model_class": "Kosmos2"})
        else:
            self._send(HTTPStatus.NOT_FOUND, {"error": "no such path"})

    def do_POST(self) -> None:
        """Answer the other paths."""
        try:
            self._send(*self._reply())
        except Refused as refused:
            self.close_connection = True  # the body has not been read
            self._send(refused.status, {"error": str(refused)})
        except Kosmos2ClientError as error:
            self._send(HTTPStatus.BAD_REQUEST, {"error": str(error)})

    def _reply(self) -> Reply:
        self._check_caller()
        routes = {"/setup": self._setup, "/predict": self._predict, "/webhook": self._webhook}
        if self.path not in routes:
            raise Refused(HTTPStatus.NOT_FOUND, "no such path")
        return routes[self.path](self._read_json())

    def _check_caller(self) -> None:
        """Refuse callers without the password, and web pages on the loopback.

        Without a password, a page in a browser on this machine could send requests. Browsers send
        this type of body only after a preflight request, which fails here. The host header shows a
        name that an attacker's DNS maps to the loopback.
        """
        credentials = self.server.credentials
        if credentials is not None:
            if not credentials.match(self.headers.get("Authorization")):
                raise Refused(HTTPStatus.UNAUTHORIZED, "wrong user or password")
        elif _without_port(self.headers.get("Host", "")) not in LOOPBACK_NAMES:
            raise Refused(
                HTTPStatus.FORBIDDEN, "start with --basic-auth-file to be called by this name"
            )
        if self.headers.get_content_type() != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json")

    def _read_json(self) -> Mapping[str, Any]:
        text = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not (text.isascii() and text.isdigit()):
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "send Content-Length")
        if int(text) > MAX_BODY_BYTES:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {MAX_BODY_BYTES} bytes")
        try:
            content = json.loads(self._read(int(text)))
        except (ValueError, RecursionError):
            raise InvalidInput("the body is not JSON") from None
        if not isinstance(content, dict):
            raise InvalidInput("the body must be an object")
        return content

    def _read(self, size: int) -> bytes:
        """Return the body; a slow sender cannot extend the time by sending a little."""
        deadline, body = time.monotonic() + _BODY_TIMEOUT_S, bytearray()
        while len(body) < size:
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                raise Refused(HTTPStatus.REQUEST_TIMEOUT, "the body is too slow")
            self.connection.settimeout(remaining_s)
            part = self.rfile.read1(size - len(body))
            if not part:
                raise Refused(HTTPStatus.BAD_REQUEST, "the body is incomplete")
            body += part
        self.connection.settimeout(self.timeout)
        return bytes(body)

    def _setup(self, body: Mapping[str, Any]) -> Reply:
        """Check the labelling configuration.

        Host and token in the body are not used: only the command line sets them.
        """
        read_label_config(str(body.get("schema", "")))
        return HTTPStatus.OK, {"model_version": self.server.backend.model_version}

    def _predict(self, body: Mapping[str, Any]) -> Reply:
        tasks, config = body.get("tasks"), body.get("label_config")
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise InvalidInput("tasks must be a list of objects")
        if len(tasks) > MAX_TASKS:
            raise InvalidInput(f"more than {MAX_TASKS} tasks")
        if not self.server.predicting.acquire(timeout=_BODY_TIMEOUT_S):
            return HTTPStatus.SERVICE_UNAVAILABLE, {"error": "other predictions are running"}
        try:
            results = self.server.backend.predict(tasks, str(config or ""))
        finally:
            self.server.predicting.release()
        failures = [result["error"] for result in results if "error" in result]
        if failures and len(failures) == len(results):
            return HTTPStatus.BAD_GATEWAY, {"error": failures[0]}
        return HTTPStatus.OK, {"results": results}

    def _webhook(self, _: Mapping[str, Any]) -> Reply:
        """Accept events of annotations; there is nothing to train."""
        return HTTPStatus.CREATED, {}

    def _send(self, status: HTTPStatus, content: Mapping[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Content-Type-Options", "nosniff")
        if status == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", 'Basic realm="kosmos2-client"')
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)
        known = (
            self.path if self.path in ("/", "/health", "/setup", "/predict", "/webhook") else "…"
        )
        self.server.log(f"{self.command} {known} {status.value}")


def _without_port(host: str) -> str:
    """Return the host of a header, in lower case.

    >>> _without_port("LocalHost:9090"), _without_port("[::1]:9090"), _without_port("127.0.0.1")
    ('localhost', '[::1]', '127.0.0.1')
    """
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() else host.lower()
