"""The file of a checkpoint's 8-bit weights, and the text that identifies their source."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from app.checkpoint.files import Checkpoint, open_checkpoint, read_checkpoint
from app.checkpoint.kept_weights import KeptWeights, name_kept_weights
from app.settings import EMBEDDED_CHECKPOINT


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    """A copy of the embedded checkpoint."""
    return open_checkpoint(str(shutil.copytree(EMBEDDED_CHECKPOINT, tmp_path / "some model")))


def touch(file: Path) -> None:
    stat = file.stat()
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def test_a_commit_of_the_hub_identifies_weights_wherever_they_are(checkpoint: Checkpoint) -> None:
    first = replace(checkpoint, name="owner/model", revision="a" * 40)
    moved = replace(first, directory=Path("/elsewhere"))
    other = replace(first, revision="b" * 40)
    names = [name_kept_weights(Path("/cache"), c, "float32") for c in (first, moved, other)]
    assert names[0] == names[1]
    assert names[0].source != names[2].source
    assert names[0].path == names[2].path, "each commit would take space of its own"
    assert names[0].path.parent == Path("/cache")


@pytest.mark.parametrize("revision", [None, "a" * 40])
def test_a_changed_file_of_weights_is_another_source(
    checkpoint: Checkpoint, revision: str | None
) -> None:
    """Also in a snapshot of the hub: a damaged download is replaced under the same commit."""

    def name_now() -> KeptWeights:
        opened = read_checkpoint(checkpoint.directory, "owner/model", revision)
        return name_kept_weights(Path("/cache"), opened, "float32")

    before = name_now()
    assert name_now() == before
    file = checkpoint.directory / "model.safetensors"
    touch(file)
    touched = name_now()
    with file.open("ab") as stream:
        stream.write(b" ")
    longer = name_now()
    assert len({before.source, touched.source, longer.source}) == 3
    assert before.path == touched.path == longer.path


def test_dtypes_and_directories_have_files_of_their_own(checkpoint: Checkpoint) -> None:
    """Weights rounded to 16 bits have other 8-bit values."""
    elsewhere = replace(checkpoint, directory=checkpoint.directory.parent)
    names = [
        name_kept_weights(Path("/cache"), checkpoint, "float32"),
        name_kept_weights(Path("/cache"), checkpoint, "bfloat16"),
        name_kept_weights(Path("/cache"), elsewhere, "float32"),
    ]
    assert len({name.path for name in names}) == 3
    assert names[0].source != names[1].source


def test_by_default_the_file_is_in_the_cache_of_the_hub(checkpoint: Checkpoint) -> None:
    from huggingface_hub import constants

    kept = name_kept_weights(None, checkpoint, "float32")
    assert kept.path.parent == Path(constants.HF_ASSETS_CACHE) / "kosmos2"
