"""The private, temporary directory that the processes of a running service share."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

from app.checkpoint.files import Checkpoint, read_checkpoint
from app.errors import StartupError
from app.ipc.shared_state import SharedState
from app.settings import Settings

_MAX_PARENT_BYTES = 70
"""A socket path has at most 103 bytes on macOS, and `/kosmos2-…/engine.sock` needs 29 of them."""


class RunDirectory:
    """Paths and files of the run directory.

    Args:
        path: a short path, since that of a Unix socket is limited to about a hundred bytes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, settings: Settings, checkpoint: Checkpoint) -> "RunDirectory":
        """Create a directory for this user only; store settings and checkpoint for the children.

        Raises:
            StartupError: no directory for temporary files can be used, or it is full.
        """
        directory = cls(_make_directory())
        try:
            directory._fill(settings, checkpoint)
        except OSError as error:
            shutil.rmtree(directory.path, ignore_errors=True)
            raise StartupError(f"the directory for temporary files: {error}") from None
        return directory

    def _fill(self, settings: Settings, checkpoint: Checkpoint) -> None:
        self._settings.write_text(settings.model_dump_json())
        location = [str(checkpoint.directory), checkpoint.name, checkpoint.revision]
        self._checkpoint.write_text(json.dumps(location))
        metrics = self.path / "metrics"
        metrics.mkdir()
        # prometheus_client reads the variable when it is imported; without it, its series would be
        # those of this process alone.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    @property
    def engine_endpoint(self) -> str:
        """ZeroMQ address of the engine."""
        return f"ipc://{self.path / 'engine.sock'}"

    def open_state(self) -> SharedState:
        """Open the shared memory of the processes."""
        return SharedState(self.path / "state")

    def read_settings(self) -> Settings:
        """Return the supervisor's settings; the environment of this process is ignored."""
        return Settings.model_validate_json(self._settings.read_bytes())

    def read_checkpoint(self) -> Checkpoint:
        """Return the checkpoint that the supervisor opened, without another download."""
        directory, name, revision = json.loads(self._checkpoint.read_bytes())
        return read_checkpoint(Path(directory), name, revision)

    @property
    def _checkpoint(self) -> Path:
        return self.path / "checkpoint.json"

    @property
    def _settings(self) -> Path:
        return self.path / "settings.json"


def _make_directory() -> Path:
    """Create a directory in `TMPDIR`, or in `/tmp` if the socket path would be too long."""
    try:
        parent = tempfile.gettempdir()
        if len(os.fsencode(parent)) > _MAX_PARENT_BYTES:
            parent = "/tmp"  # noqa: S108 - `mkdtemp` makes a directory that only this user may enter
        return Path(tempfile.mkdtemp(prefix="kosmos2-", dir=parent))
    except OSError as error:
        raise StartupError(
            f"no usable temporary directory: {error}; set TMPDIR to a writable "
            f"directory whose path has at most {_MAX_PARENT_BYTES} bytes"
        ) from None
