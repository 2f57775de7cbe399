"""Checkpoints from a hub, as operators load them: mirror, token, proxy, offline, air-gapped.

The hub is a server on the loopback; only weights and JSON files are ever downloaded.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.loopback_hub import COMMIT, LoopbackHub, running_hub

PROGRAM = """
from app.checkpoint.files import open_checkpoint
from app.errors import StartupError
try:
    checkpoint = open_checkpoint("owner/kosmos", REVISION)
    print(checkpoint.name, checkpoint.revision, len(checkpoint.tensors))
except StartupError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def hub(endless_checkpoint: Path, tmp_path: Path) -> Iterator[LoopbackHub]:
    directory = tmp_path / "hub"
    directory.mkdir()
    for file in endless_checkpoint.iterdir():
        (directory / file.name).symlink_to(file)
    # Files that must not be downloaded with the checkpoint.
    (directory / "pytorch_model.bin").write_bytes(b"a pickle")
    (directory / "modeling.py").write_text("raise SystemExit")
    (directory / "snowman.png").write_bytes(b"a picture")
    with running_hub(directory) as hub:
        yield hub


def open_from(
    hub: LoopbackHub,
    cache: Path,
    revision: str | None = None,
    program: str = PROGRAM,
    **environment: str,
) -> str:
    """Open the model in another process, with an empty environment for the client of the hub."""
    program = program.replace("REVISION", repr(revision))
    result = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ
        | {"HF_ENDPOINT": hub.address, "HF_HOME": str(cache), "HF_TOKEN": ""}
        | environment,
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


def test_a_mirror_serves_a_pinned_commit(hub: LoopbackHub, tmp_path: Path) -> None:
    """`HF_ENDPOINT` names the mirror, and a commit is found in the cache without any request."""
    cache = tmp_path / "cache"
    first = open_from(hub, cache, COMMIT)
    assert first.startswith(f"owner/kosmos {COMMIT} ")
    hub.num_requests = 0
    assert open_from(hub, cache, COMMIT, HF_HUB_OFFLINE="1") == first
    assert hub.num_requests == 0


def test_a_model_that_requires_a_token(hub: LoopbackHub, tmp_path: Path) -> None:
    """`HF_TOKEN` is sent; without it the error names the variable."""
    hub.token = "right"
    assert "set HF_TOKEN for access" in open_from(hub, tmp_path / "cache")
    opened = open_from(hub, tmp_path / "cache", HF_TOKEN="right")
    assert opened.startswith(f"owner/kosmos {COMMIT} ")


def test_downloads_use_a_proxy(hub: LoopbackHub, tmp_path: Path) -> None:
    """Only the proxy knows the name of the hub."""
    opened = open_from(
        hub,
        tmp_path / "cache",
        HF_ENDPOINT="http://hub.example",
        HTTP_PROXY=hub.address,
        http_proxy=hub.address,
        NO_PROXY="",
        no_proxy="",
    )
    assert opened.startswith(f"owner/kosmos {COMMIT} ")
    assert hub.hosts == {"hub.example"}


def test_a_socks_proxy_without_its_package_is_reported_in_one_line(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    proxy = {"ALL_PROXY": "socks5h://127.0.0.1:9", "NO_PROXY": "", "no_proxy": ""}
    output = open_from(hub, tmp_path / "cache", **proxy)
    assert output.startswith("CheckpointError owner/kosmos: ")


def test_offline_without_a_cache_is_reported(hub: LoopbackHub, tmp_path: Path) -> None:
    output = open_from(hub, tmp_path / "cache", HF_HUB_OFFLINE="1")
    assert output.startswith("CheckpointError owner/kosmos: not in the cache")
    assert hub.num_requests == 0


def test_the_cache_of_one_machine_serves_another_without_network(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    """Air-gapped: `HF_HOME` is copied, with its links."""
    first = open_from(hub, tmp_path / "connected", COMMIT)
    shutil.copytree(tmp_path / "connected", tmp_path / "carried", symlinks=True)
    hub.address = "http://127.0.0.1:1"  # no server listens there
    opened = open_from(hub, tmp_path / "carried", COMMIT, HF_HUB_OFFLINE="1")
    assert opened == first


FETCH = """
from app.errors import StartupError
from app.checkpoint.hub import fetch_file, find_sha256
try:
    file = fetch_file("owner/kosmos", None, NAME)
    print(file.read_text(), find_sha256(file))
except StartupError as error:
    print(type(error).__name__, error)
"""


def test_a_single_file_is_fetched_with_its_checksum(hub: LoopbackHub, tmp_path: Path) -> None:
    """`kosmos2 verify` fetches the picture of the recorded answers so."""
    program = FETCH.replace("NAME", "'snowman.png'")
    text, _, sha256 = open_from(hub, tmp_path / "cache", program=program).rpartition(" ")
    assert text == "a picture"
    assert sha256 == hashlib.sha256(b"a picture").hexdigest()
    missing = open_from(hub, tmp_path / "cache", program=FETCH.replace("NAME", "'none.png'"))
    assert missing == "CheckpointError owner/kosmos: the hub has no such file"


@pytest.mark.parametrize(
    ("pinned", "level", "event"),
    [(None, "warning", "commit not pinned"), (COMMIT, "info", "commit pinned")],
)
def test_a_start_logs_the_commit_that_it_got(
    hub: LoopbackHub, tmp_path: Path, pinned: str | None, level: str, event: str
) -> None:
    """A warning without a pinned commit, with the setting that gives the same one next time."""
    # The memory does not suffice, so that the start ends after it has opened the checkpoint.
    settings = {"MODEL": "owner/kosmos", "PORT": "0", "PICTURE_CACHE_BYTES": str(10**16)}
    settings |= {"REVISION": pinned} if pinned else {}
    done = subprocess.run(
        [sys.executable, "-m", "app.commands.cli", "serve"],
        env=os.environ
        | {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "cache"), "HF_TOKEN": ""}
        | {f"KOSMOS2_{name}": value for name, value in settings.items()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 71
    assert done.stdout == ""  # only the ready line is printed there, which programs read as JSON
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    (logged,) = [line for line in lines if line["event"].startswith("commit")]
    assert (logged["event"], logged["level"]) == (event, level)
    assert (logged["model"], logged["commit"]) == ("owner/kosmos", COMMIT)
    assert logged.get("to_pin") == (None if pinned else f"KOSMOS2_REVISION={COMMIT}")
