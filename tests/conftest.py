"""Fixtures that several folders of tests share."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from app.settings import EMBEDDED_CHECKPOINT

# A busy machine is not a defect.
settings.register_profile("project", deadline=None)
settings.load_profile("project")


@pytest.fixture(scope="session")
def shared_kosmos2() -> Path:
    """The real processor, the golden parses and the demo pictures, read in place."""
    directory = Path(__file__).parents[2] / "shared" / "kosmos2"
    if not directory.is_dir():
        pytest.skip("the published processor's files are not beside this repository")
    return directory


@pytest.fixture(scope="session")
def reference_processor(shared_kosmos2: Path) -> Any:
    """The processor that this service must equal, pictures by Pillow."""
    from transformers import Kosmos2Processor

    return Kosmos2Processor.from_pretrained(shared_kosmos2 / "processor")


@pytest.fixture(scope="session")
def tireless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint, whose answers do not end before their limit."""
    from harness.checkpoints import tiny_config, write_random_checkpoint

    directory = tmp_path_factory.mktemp("checkpoints") / "tireless"
    return write_random_checkpoint(directory, tiny_config(EMBEDDED_CHECKPOINT), EMBEDDED_CHECKPOINT)
