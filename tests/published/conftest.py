"""Checkpoints of random weights in the published layout, written once."""

import shutil
from pathlib import Path

import pytest

from app.checkpoint.files import open_checkpoint
from app.verify.prompts import Material
from app.verify.recording import PUBLISHED_RECORDING, Recording, read_recording
from harness.published_layout import to_older_layout, write_published_layout


@pytest.fixture(scope="session")
def recording() -> Recording:
    """What is known of the published model."""
    return read_recording(PUBLISHED_RECORDING)


@pytest.fixture(scope="session")
def published_layout(shared_kosmos2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with the published files and a scaled-down configuration."""
    directory = tmp_path_factory.mktemp("published") / "checkpoint"
    return write_published_layout(directory, shared_kosmos2 / "processor")


@pytest.fixture(scope="session")
def older_layout(published_layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights in half precision, in two shards, with tensors that no loader reads."""
    directory = tmp_path_factory.mktemp("older") / "checkpoint"
    shutil.copytree(published_layout, directory)
    return to_older_layout(directory)


@pytest.fixture(scope="session")
def snowman(shared_kosmos2: Path) -> Path:
    """The picture of all recorded answers."""
    return shared_kosmos2 / "images" / "snowman.png"


@pytest.fixture(scope="session")
def material(published_layout: Path, recording: Recording, snowman: Path) -> Material:
    """The recorded answers as prompts for the random checkpoint."""
    return Material.of(open_checkpoint(str(published_layout)), recording.answers, snowman)
