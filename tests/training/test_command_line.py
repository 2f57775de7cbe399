"""The commands report wrong options in one line, before a checkpoint trains or answers."""

import sys
from pathlib import Path

import pytest

from app.settings import EMBEDDED_CHECKPOINT
from training import build, calibrate, evaluate, evaluate_confidence, gallery

COMMANDS = {
    "build": build.main,
    "calibrate": calibrate.main,
    "evaluate": evaluate.main,
    "evaluate_confidence": evaluate_confidence.main,
    "gallery": gallery.main,
}


def reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, *options: str
) -> str:
    """Return the last line that a command reports; no command may load a checkpoint first."""
    monkeypatch.setattr(sys, "argv", [command, *options])
    with pytest.raises(SystemExit) as ended:
        COMMANDS[command]()
    assert ended.value.code not in {0, None}
    message = ended.value.code if isinstance(ended.value.code, str) else capsys.readouterr().err
    return message.splitlines()[-1]


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("build", "--processes"),
        ("build", "--vision-steps"),  # 0 stood for the default
        ("build", "--joint-steps"),
        ("calibrate", "--scenes"),
        ("evaluate", "--scenes"),
        ("evaluate_confidence", "--scenes"),
        ("evaluate_confidence", "--harder"),
        ("gallery", "--scenes"),
    ],
)
@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_a_number_must_be_positive(monkeypatch, capsys, command, option, value):
    message = reported(monkeypatch, capsys, command, f"{option}={value}")
    assert message.endswith(f"argument {option}: '{value}' is not a positive number")


def test_a_calibration_needs_enough_scenes_for_class_lists(monkeypatch, capsys):
    message = reported(monkeypatch, capsys, "calibrate", "--scenes=19")
    assert message.endswith("argument --scenes: at least 20")


@pytest.mark.parametrize("command", ["build", "calibrate", "evaluate", "evaluate_confidence"])
def test_a_device_must_be_usable(monkeypatch, capsys, command):
    assert "'foo' cannot be used" in reported(monkeypatch, capsys, command, "--device=foo")


@pytest.mark.parametrize("command", ["calibrate", "evaluate", "evaluate_confidence", "gallery"])
def test_a_missing_checkpoint_is_named(monkeypatch, capsys, tmp_path, command):
    monkeypatch.chdir(tmp_path)  # the folders of results are created here
    missing = tmp_path / "missing"
    message = reported(monkeypatch, capsys, command, f"--checkpoint={missing}")
    assert message == f"{missing} is not a directory"
    assert not missing.exists()


@pytest.mark.parametrize(
    ("command", "option", "path"),
    [
        ("build", "--out", "file/folder"),
        ("evaluate", "--json", "file/table.json"),
        ("evaluate", "--json", "."),
        ("evaluate", "--plots", "file"),
        ("evaluate_confidence", "--results", "file"),
        ("evaluate_confidence", "--images", "file"),
        ("gallery", "--out", "file"),
    ],
)
def test_outputs_are_checked_first(monkeypatch, capsys, tmp_path, command, option, path):
    """The error appeared after minutes of answers, which were lost."""
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    message = reported(monkeypatch, capsys, command, f"{option}={path}")
    assert message.startswith("[Errno ")


def test_the_file_of_a_calibration_is_checked_before_it_is_measured(monkeypatch, capsys, tmp_path):
    for file in EMBEDDED_CHECKPOINT.glob("*.*"):
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "grounding_calibration.json").unlink()
    (tmp_path / "grounding_calibration.json").mkdir()
    message = reported(monkeypatch, capsys, "calibrate", f"--checkpoint={tmp_path}")
    assert message == f"[Errno 21] Is a directory: '{tmp_path / 'grounding_calibration.json'}'"
