"""The directory that the processes of one service share while it runs: private, short-lived."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

from app.checkpoint import Checkpoint, read_checkpoint
from app.ipc.shared_state import SharedState
from app.settings import Settings


class RunDirectory:
    """What lies where in it.

    Args:
        path: short, since a Unix socket's path holds about a hundred characters.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, settings: Settings, checkpoint: Checkpoint) -> "RunDirectory":
        """Make one that only this user may enter, with what the children are to know."""
        directory = cls(Path(tempfile.mkdtemp(prefix="kosmos2-")))
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
