"""Reads the settings of a command, configures its logs and opens its checkpoint."""

import os
import sys
from typing import Any

from app.checkpoint.files import Checkpoint, open_checkpoint
from app.commands.unknown_settings import warn_of_unknown_settings
from app.settings import PUBLISHED_MODEL, Settings
from app.telemetry.logs import configure_logs, get_logger

_EMBEDDED_NOTICE = (
    "The embedded checkpoint is a stand-in for trying the API: it knows drawn shapes only. "
    "To serve the published model:\n"
    f"  kosmos2 serve --model {PUBLISHED_MODEL}    (or: make run MODEL={PUBLISHED_MODEL})"
)


def settings_of(**options: Any) -> Settings:
    """Return the settings; options of the command line override the environment."""
    return Settings(**{name: value for name, value in options.items() if value is not None})


def one_shot_settings_of(**options: Any) -> Settings:
    """Return `settings_of`, but log warnings and errors only, unless a level is set."""
    settings = settings_of(**options)
    is_level_set = "log_level" in settings.model_fields_set
    return settings if is_level_set else settings.model_copy(update={"log_level": "warning"})


def prepare(settings: Settings, process: str) -> Checkpoint:
    """Configure the logs and open the checkpoint; log its commit, and print what a stand-in is.

    Args:
        process: name of this process in every log line.

    Raises:
        StartupError: see `open_checkpoint`.
    """
    configure_logs(settings.log_level, process, settings.log_format)
    warn_of_unknown_settings(os.environ)
    checkpoint = open_checkpoint(settings.model, settings.revision)
    if checkpoint.is_embedded:
        print(_EMBEDDED_NOTICE, file=sys.stderr)
    if checkpoint.revision is not None:
        _log_commit(checkpoint.name, checkpoint.revision, settings.revision)
    return checkpoint


def _log_commit(model: str, commit: str, revision: str | None) -> None:
    """Log the commit of a model from the hub; warn if the next start may get another one."""
    if commit == revision:
        get_logger().info("commit pinned", model=model, commit=commit)
        return
    # A branch or a tag may move.
    pin = f"KOSMOS2_REVISION={commit}"
    get_logger().warning("commit not pinned", model=model, commit=commit, to_pin=pin)
