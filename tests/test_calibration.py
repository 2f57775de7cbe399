"""The calibration of a checkpoint is a file next to its weights."""

from pathlib import Path

import pytest

from app.checkpoint import Calibration, Checkpoint, read_checkpoint
from app.errors import CheckpointError
from app.settings import EMBEDDED_CHECKPOINT


def read_with(directory: Path, calibration: str | None) -> Checkpoint:
    """Return the embedded checkpoint's files with this calibration file, or without one."""
    for file in EMBEDDED_CHECKPOINT.iterdir():
        if file.is_file() and file.name != "grounding_calibration.json":
            (directory / file.name).symlink_to(file)
    if calibration is not None:
        (directory / "grounding_calibration.json").write_text(calibration)
    return read_checkpoint(directory, "copy", None)


def test_a_checkpoint_without_a_calibration_has_the_threshold_0(tmp_path: Path) -> None:
    assert read_with(tmp_path, None).calibration == Calibration(False, 0.0)


def test_the_default_threshold_is_read_from_the_file(tmp_path: Path) -> None:
    """Other members describe how the threshold was measured."""
    checkpoint = read_with(tmp_path, '{"default_threshold": 0.5, "measured_on": "1,000 scenes"}')
    assert checkpoint.calibration == Calibration(True, 0.5)


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"default_threshold": 2}', '{"x": null}'])
def test_an_invalid_calibration_is_reported_with_its_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(CheckpointError, match="grounding_calibration.json"):
        read_with(tmp_path, text)
