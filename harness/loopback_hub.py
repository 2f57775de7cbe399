"""A hub on the loopback with one model; it is also the proxy of clients that use it as one."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from harness.standard_servers import running_server

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class LoopbackHub:
    """A hub with one model, which consists of the files of a directory.

    Attributes:
        directory: files of the model.
        address: URL of the hub.
        requested: names of the files that were requested.
        declared_size: size to report for each file instead of its own.
        has_model: whether the hub has the model.
        page: status and body that a proxy returns for every request instead of the hub.
        token: the token that the model requires; `None`: it is public.
        hosts: hosts that clients requested, if they use this server as their proxy.
        num_requests: number of requests.
    """

    directory: Path
    address: str = ""
    requested: set[str] = field(default_factory=set)
    declared_size: int | None = None
    has_model: bool = True
    page: tuple[int, bytes] | None = None
    token: str | None = None
    hosts: set[str] = field(default_factory=set)
    num_requests: int = 0

    def describe(self) -> bytes:
        """Return the hub's description of the model."""
        files = [
            {"rfilename": file.name, "size": self.declared_size or file.stat().st_size}
            for file in self.directory.iterdir()
        ]
        return json.dumps({"id": "owner/kosmos", "sha": COMMIT, "siblings": files}).encode()

    def list_files(self) -> bytes:
        """Return the hub's list of the files of a revision."""
        files = [
            {
                "type": "file",
                "path": file.name,
                "size": file.stat().st_size,
                "oid": hashlib.sha256(file.read_bytes()).hexdigest(),
            }
            for file in self.directory.iterdir()
            if file.is_file()
        ]
        return json.dumps(files).encode()

    def read(self, path: str) -> tuple[bytes, str] | None:
        """Return content and entity tag of a path."""
        if not self.has_model:
            return None
        if "/tree/" in path:
            return self.list_files(), "tree"
        if path.startswith("/api/models/owner/kosmos"):
            return self.describe(), "model"
        file = self.directory / path.rpartition("/")[2]
        if "/resolve/" not in path or not file.is_file():
            return None
        self.requested.add(file.name)
        content = file.read_bytes()
        return content, hashlib.sha256(content).hexdigest()


@contextmanager
def running_hub(directory: Path) -> Iterator[LoopbackHub]:
    """Run a hub whose model consists of the files of a directory, during the block."""
    hub = LoopbackHub(directory)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(has_body=False)

        def do_GET(self) -> None:
            self._answer(has_body=True)

        def _answer(self, has_body: bool) -> None:
            hub.num_requests += 1
            url = urlsplit(self.path)
            hub.hosts |= {url.netloc} if url.netloc else set()
            if hub.page is not None:
                status, content = hub.page
                self._send(status, content if has_body else b"", {"Content-Type": "text/html"})
                return
            is_allowed = hub.token in {None, (self.headers["Authorization"] or "")[7:]}
            found = hub.read(url.path) if is_allowed else None
            content, tag = found or (b"", "")
            headers = {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT}
            if found is None:
                is_file = hub.has_model and is_allowed and "/resolve/" in url.path
                headers["X-Error-Code"] = "EntryNotFound" if is_file else "RepoNotFound"
            headers["Content-Length"] = str(len(content))
            self._send(200 if found else 404, content if has_body else b"", headers)

        def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with running_server(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        hub.address = f"http://{address}"
        yield hub
