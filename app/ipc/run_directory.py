"""The directory that the processes of one service share while it runs: private, short-lived."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

from app.checkpoint import Checkpoint, read_checkpoint
from app.errors import StartupError
from app.ipc.shared_state import SharedState
from app.settings import Settings

_MAX_PARENT_BYTES = 70
"""A socket's path has at most 103 bytes on macOS, of which `/kosmos2-…/engine.sock` takes 29."""


class RunDirectory:
    """What lies where in it.

    Args:
        path: short, since a Unix socket's path holds about a hundred bytes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, settings: Settings, checkpoint: Checkpoint) -> "RunDirectory":
        """Make one that only this user may enter, with what the children are to know.

        Raises:
            StartupError: there is no directory for temporary files.
        """
        directory = cls(_make_directory())
        directory._settings.write_text(settings.model_dump_json())
        location = [str(checkpoint.directory), checkpoint.name, checkpoint.revision]
        directory._checkpoint.write_text(json.dumps(location))
        metrics = directory.path / "metrics"
        metrics.mkdir()
        # Read by prometheus_client when it is imported: later it would count in this process alone.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
        return directory

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
        """Where the engine listens."""
        return f"ipc://{self.path / 'engine.sock'}"

    def open_state(self) -> SharedState:
        """Open the memory that the processes share."""
        return SharedState(self.path / "state")

    def read_settings(self) -> Settings:
        """The settings as the supervisor has them; the children's environment adds nothing."""
        return Settings.model_validate_json(self._settings.read_bytes())

    def read_checkpoint(self) -> Checkpoint:
        """The checkpoint that the supervisor found; nothing is fetched again."""
        directory, name, revision = json.loads(self._checkpoint.read_bytes())
        return read_checkpoint(Path(directory), name, revision)

    @property
    def _checkpoint(self) -> Path:
        return self.path / "checkpoint.json"

    @property
    def _settings(self) -> Path:
        return self.path / "settings.json"


def _make_directory() -> Path:
    """Make a directory in `TMPDIR`, or in `/tmp` where a socket's path would be too long."""
    try:
        parent = tempfile.gettempdir()
        if len(os.fsencode(parent)) > _MAX_PARENT_BYTES:
            parent = "/tmp"  # noqa: S108 - `mkdtemp` makes a directory that only this user may enter
        return Path(tempfile.mkdtemp(prefix="kosmos2-", dir=parent))
    except OSError as error:
        raise StartupError(
            f"no usable temporary directory: {error}; set TMPDIR to a directory "
            f"that can be written, with a path of at most {_MAX_PARENT_BYTES} bytes"
        ) from None
