"""Where the files of a running service lie."""

import os
import tempfile
from pathlib import Path

import pytest
import zmq

from app.checkpoint import open_checkpoint
from app.errors import StartupError
from app.ipc.run_directory import RunDirectory
from app.settings import EMBEDDED_CHECKPOINT, Settings


@pytest.fixture
def temporary_directory(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """`TMPDIR` can be set in the environment; Python reads it again."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")  # set by `create`, restored afterwards
    return monkeypatch


def create() -> RunDirectory:
    return RunDirectory.create(Settings(), open_checkpoint(str(EMBEDDED_CHECKPOINT)))


@pytest.mark.parametrize("name", ["short", "job-" * 20, "ü" * 50, "a" * 70])
def test_a_socket_can_be_made_below_any_tmpdir(
    temporary_directory: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """Slurm, CI and macOS have long ones."""
    parent = tmp_path / name
    parent.mkdir()
    temporary_directory.setenv("TMPDIR", str(parent))
    with create() as run_directory, zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.bind(run_directory.engine_endpoint)
        assert run_directory.path.stat().st_mode & 0o077 == 0
        assert run_directory.path.stat().st_uid == os.getuid()


def test_a_directory_that_cannot_be_used_is_named(temporary_directory: pytest.MonkeyPatch) -> None:
    temporary_directory.setattr(tempfile, "tempdir", "/no-such-directory")
    with pytest.raises(StartupError, match="set TMPDIR to a directory"):
        create()
