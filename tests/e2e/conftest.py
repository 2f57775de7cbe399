"""Services that are made to suffer: each test has its own."""

from pathlib import Path

import pytest

from app.settings import EMBEDDED_CHECKPOINT
from tests.support.checkpoints import tiny_config, write_random_checkpoint


@pytest.fixture(scope="session")
def tireless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint, whose answers do not end before their limit."""
    directory = tmp_path_factory.mktemp("checkpoints") / "tireless"
    return write_random_checkpoint(directory, tiny_config(EMBEDDED_CHECKPOINT), EMBEDDED_CHECKPOINT)
