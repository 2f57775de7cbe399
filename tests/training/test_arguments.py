"""Wrong options of the training's commands are reported before anything is measured."""

import argparse
from pathlib import Path

import pytest

from training.arguments import checkpoint, new_file, num_scenes


def test_right_options_are_accepted(tmp_path: Path) -> None:
    assert num_scenes("1") == 1
    assert checkpoint("app/demo") == Path("app/demo")
    assert new_file(str(tmp_path / "table.json")) == tmp_path / "table.json"


def test_wrong_options_are_reported(tmp_path: Path) -> None:
    for read, text in (
        (num_scenes, "0"),
        (checkpoint, str(tmp_path)),
        (new_file, str(tmp_path)),
        (new_file, str(tmp_path / "missing" / "table.json")),
    ):
        with pytest.raises(argparse.ArgumentTypeError):
            read(text)
