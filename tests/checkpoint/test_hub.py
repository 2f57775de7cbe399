"""Downloads from the hub: weights and JSON files only. The hub is a local server."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROGRAM = """
from app.checkpoint.files import open_checkpoint
from app.errors import StartupError
try:
    checkpoint = open_checkpoint("owner/kosmos", REVISION)
    print(checkpoint.name, checkpoint.revision, len(checkpoint.tensors))
except StartupError as error:
    print(type(error).__name__, error)
"""


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
    """

    directory: Path
    address: str = ""
    requested: set[str] = field(default_factory=set)
    declared_size: int | None = None
    has_model: bool = True
    page: tuple[int, bytes] | None = None

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


@pytest.fixture
def hub(endless_checkpoint: Path, tmp_path: Path) -> Iterator[LoopbackHub]:
    directory = tmp_path / "hub"
    directory.mkdir()
    for file in endless_checkpoint.iterdir():
        (directory / file.name).symlink_to(file)
    # Files that must not be downloaded.
    (directory / "pytorch_model.bin").write_bytes(b"a pickle")
    (directory / "modeling.py").write_text("raise SystemExit")
    hub = LoopbackHub(directory)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(has_body=False)

        def do_GET(self) -> None:
            self.answer(has_body=True)

        def answer(self, has_body: bool) -> None:
            if hub.page is not None:
                status, content = hub.page
                self.send_response(status)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if has_body:
                    self.wfile.write(content)
                return
            found = hub.read(self.path.partition("?")[0])
            self.send_response(404 if found is None else 200)
            if found is None:
                self.send_header("X-Error-Code", "RepoNotFound")
            content, tag = found or (b"", "")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{tag}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if has_body:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield hub
    server.shutdown()
    thread.join()
    server.server_close()


def open_from(hub: LoopbackHub, cache: Path, revision: str | None = None) -> str:
    program = PROGRAM.replace("REVISION", repr(revision))
    result = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"HF_ENDPOINT": hub.address, "HF_HOME": str(cache), "HF_TOKEN": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-1500:]
    return result.stdout.splitlines()[-1]


def test_only_weights_and_json_are_downloaded(hub: LoopbackHub, tmp_path: Path) -> None:
    """Pickles and code are never downloaded."""
    assert open_from(hub, tmp_path / "cache").startswith(f"owner/kosmos {COMMIT} ")
    assert hub.requested
    assert {Path(name).suffix for name in hub.requested} == {".safetensors", ".json"}


def test_a_cached_model_is_opened_without_the_hub(hub: LoopbackHub, tmp_path: Path) -> None:
    """A restart must not depend on another server."""
    first = open_from(hub, tmp_path / "cache")
    hub.requested.clear()
    assert open_from(hub, tmp_path / "cache") == first
    assert not hub.requested - {name for name in hub.requested if name.endswith(".json")}
    hub.address = "http://127.0.0.1:1"  # no server listens there
    assert open_from(hub, tmp_path / "cache") == first


def test_a_download_that_does_not_fit_on_the_disk_is_rejected(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    """Before the download begins."""
    hub.declared_size = 10**18
    assert open_from(hub, tmp_path / "cache").startswith("OutOfMemory owner/kosmos: ")
    assert not hub.requested


def test_a_model_that_the_hub_does_not_have_is_reported(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.has_model = False
    assert "no such model on the hub" in open_from(hub, tmp_path / "cache")


def test_an_unreachable_hub_is_reported(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.address = "http://127.0.0.1:1"
    output = open_from(hub, tmp_path / "cache")
    assert output.startswith("CheckpointError owner/kosmos: ")
    assert "could not be reached" in output


def error_of_serve(hub: LoopbackHub, cache: Path) -> str:
    """Return the last line of `kosmos2 serve`, which must fail without a traceback."""
    result = subprocess.run(
        [sys.executable, "-m", "app.commands.cli", "serve", "--port", "0"],
        env=os.environ
        | {"HF_ENDPOINT": hub.address, "HF_HOME": str(cache), "HF_TOKEN": ""}
        | {"KOSMOS2_MODEL": "owner/kosmos"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 65
    assert "Traceback" not in result.stderr
    return result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "page", [b"<html>Please log in</html>", b"", b"[]", b"{}", b'"text"', b"null", b"\xff\xfe"]
)
def test_a_page_instead_of_the_hub_is_reported_in_one_line(
    hub: LoopbackHub, tmp_path: Path, page: bytes
) -> None:
    """From a captive portal, the login page of a proxy or a broken mirror."""
    hub.page = 200, page
    assert "is not a hub's" in error_of_serve(hub, tmp_path / "cache")


def test_a_rate_limit_of_the_hub_is_reported(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.page = 429, b"slow down"
    assert "429" in error_of_serve(hub, tmp_path / "cache")


def test_a_cached_model_is_opened_despite_a_login_page(hub: LoopbackHub, tmp_path: Path) -> None:
    first = open_from(hub, tmp_path / "cache")
    hub.page = 200, b"<html>Please log in</html>"
    assert open_from(hub, tmp_path / "cache") == first
