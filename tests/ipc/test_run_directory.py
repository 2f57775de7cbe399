"""The run directory of a service."""

import os
import resource
import signal
import tempfile
from pathlib import Path

import pytest
import zmq

from app.checkpoint.files import open_checkpoint
from app.errors import StartupError
from app.ipc.run_directory import RunDirectory
from app.settings import EMBEDDED_CHECKPOINT, Settings


@pytest.fixture
def temporary_directory(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let tests set `TMPDIR`: remove the cached directory of `tempfile`."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")  # set by `create`, restored afterwards
    return monkeypatch


def create() -> RunDirectory:
    return RunDirectory.create(Settings(), open_checkpoint(str(EMBEDDED_CHECKPOINT)))


@pytest.mark.parametrize("name", ["short", "job-" * 20, "ü" * 50, "a" * 70])
def test_a_socket_can_be_created_below_any_tmpdir(
    temporary_directory: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """The paths of Slurm, CI and macOS are long."""
    parent = tmp_path / name
    parent.mkdir()
    temporary_directory.setenv("TMPDIR", str(parent))
    with create() as run_directory, zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.bind(run_directory.engine_endpoint)
        assert run_directory.path.stat().st_mode & 0o077 == 0
        assert run_directory.path.stat().st_uid == os.getuid()


def test_a_missing_temporary_directory_is_reported(
    temporary_directory: pytest.MonkeyPatch,
) -> None:
    temporary_directory.setattr(tempfile, "tempdir", "/no-such-directory")
    with pytest.raises(StartupError, match="set TMPDIR to a writable directory"):
        create()


def test_a_full_temporary_directory_is_reported_and_nothing_remains(
    temporary_directory: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A limit of the size of files stands for a full file system."""
    temporary_directory.setenv("TMPDIR", str(tmp_path))
    settings, checkpoint = Settings(), open_checkpoint(str(EMBEDDED_CHECKPOINT))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, before[1]))
    try:
        with pytest.raises(StartupError, match="temporary files"):
            RunDirectory.create(settings, checkpoint)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []
