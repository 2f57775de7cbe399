"""Reads the settings of a command and opens its checkpoint."""

import sys
from typing import Any

from app.checkpoint.files import Checkpoint, open_checkpoint
from app.settings import PUBLISHED_MODEL, Settings

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


def open_with_notices(settings: Settings) -> Checkpoint:
    """Open the checkpoint; print what the user of a stand-in or an unpinned model should know.

    Raises:
        StartupError: see `open_checkpoint`.
    """
    checkpoint = open_checkpoint(settings.model, settings.revision)
    if checkpoint.is_embedded:
        print(_EMBEDDED_NOTICE, file=sys.stderr)
    if checkpoint.revision not in {None, settings.revision}:  # a branch or a tag may move
        print(_unpinned_notice(checkpoint), file=sys.stderr)
    return checkpoint


def _unpinned_notice(checkpoint: Checkpoint) -> str:
    return (
        f"{checkpoint.name}: no commit is pinned, so another start may serve other weights; to "
        f"serve these again, set KOSMOS2_REVISION={checkpoint.revision}"
    )
