"""`kosmos2 export` and `kosmos2 evaluate` run the commands of the client."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.commands.cli import cli
from harness.run_files import answer_line, detect_answer, write_run

RUN = [answer_line("a.jpg", detect_answer([("red circle", (10.0, 20.0, 60.0, 70.0), 0.9)]))]


def test_export_writes_the_file_of_the_client(tmp_path: Path) -> None:
    run, out = write_run(tmp_path / "run.jsonl", RUN), tmp_path / "coco.json"
    arguments = ["export", str(run), "--format", "coco", "--out", str(out)]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    assert len(json.loads(out.read_text())["annotations"]) == 1


@pytest.mark.parametrize("command", ["export", "evaluate"])
def test_options_and_exit_codes_are_those_of_the_client(command: str, tmp_path: Path) -> None:
    described = CliRunner().invoke(cli, [command, "--help"])
    assert (described.exit_code, "--nms-iou" in described.output) == (0, True)
    assert described.output.startswith(f"usage: kosmos2 {command} ")
    missing = [command, str(tmp_path / "missing.jsonl")]
    required = {"export": ["--format", "csv", "--out", str(tmp_path / "out")]}
    truth = ["--truth", str(tmp_path / "missing.json")]
    result = CliRunner().invoke(cli, [*missing, *required.get(command, truth)])
    assert (result.exit_code, result.output.startswith("kosmos2: ")) == (1, True)
