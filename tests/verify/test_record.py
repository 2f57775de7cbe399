"""`kosmos2 verify --record`: where the picture must be, and when the recording is replaced."""

import shutil
from pathlib import Path

import pytest

from app.contract.examples import EXAMPLE_SCENE
from app.errors import CheckpointError
from app.settings import EMBEDDED_CHECKPOINT
from app.verify.record import record
from app.verify.recording import RECORDING_NAME, read_recording, replacing


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the embedded checkpoint, which is a checkpoint of another name."""
    return Path(shutil.copytree(EMBEDDED_CHECKPOINT, tmp_path / "copy"))


@pytest.mark.parametrize("picture", [EXAMPLE_SCENE, Path("/missing.png")])
def test_a_picture_elsewhere_is_reported_before_the_answers(copy: Path, picture: Path) -> None:
    with pytest.raises(CheckpointError, match=f"the picture must be a file in {copy}"):
        record(str(copy), None, picture)


def test_a_missing_picture_is_reported_before_the_answers(copy: Path) -> None:
    """Another checkpoint than the embedded one has no picture of its own at first."""
    (copy / "recorded_answers.json").unlink()
    with pytest.raises(CheckpointError, match="the picture must be a file in"):
        record(str(copy), None, None)


def test_a_recording_that_cannot_be_written_is_reported_before_the_answers(copy: Path) -> None:
    """With the published weights, the answers take minutes."""
    (copy / f"{RECORDING_NAME}.partial").mkdir()
    with pytest.raises(IsADirectoryError):
        record(str(copy), None, None)


def test_an_interruption_keeps_the_earlier_recording(copy: Path) -> None:
    path = copy / RECORDING_NAME
    before, files = path.read_text(), sorted(copy.iterdir())

    def write_half() -> None:
        with replacing(path) as partial:
            partial.write_text(before[:100])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert (path.read_text(), sorted(copy.iterdir())) == (before, files)


@pytest.mark.processes
def test_the_picture_may_be_a_link_as_in_a_snapshot_of_the_hub(copy: Path) -> None:
    link = copy / "picture.jpg"
    link.symlink_to(EXAMPLE_SCENE)
    path = record(str(copy), None, link)
    assert read_recording(path).picture == "picture.jpg"
