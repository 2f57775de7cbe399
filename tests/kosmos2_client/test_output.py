"""A standard output that cannot be written costs neither files nor a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.run_files import answer_line, detect_answer, write_run

pytestmark = pytest.mark.processes

RUN = [answer_line("a.jpg", detect_answer([("red circle", (10.0, 20.0, 60.0, 70.0), 0.9)]))]


def run(stdout: int, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run the command; return its exit code and what it writes to standard error."""
    result = subprocess.run(
        [sys.executable, "-m", "kosmos2_client.cli", *arguments],
        env={**os.environ, "PYTHONUNBUFFERED": "", **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    return result.returncode, result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_output_is_reported_in_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        exit_code, errors = run(full.fileno(), "--help")
    assert (exit_code, len(errors.splitlines())) == (1, 1)
    assert "No space left" in errors


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_evaluate_writes_its_files_although_its_reader_closed_the_pipe(
    tmp_path: Path, unbuffered: str
) -> None:
    """As `head -1` does."""
    file, truth = write_run(tmp_path / "run.jsonl", RUN), tmp_path / "truth.json"
    main = [str(file), "--truth", str(truth), "--write-thresholds", str(tmp_path / "out.json")]
    box = {"image_id": 1, "category_id": 1, "bbox": [10, 20, 50, 50]}
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": "red circle"}],
        "annotations": [box],
    }
    truth.write_text(json.dumps(content))
    reading, writing = os.pipe()
    os.close(reading)
    try:
        exit_code, errors = run(writing, "evaluate", *main, PYTHONUNBUFFERED=unbuffered)
    finally:
        os.close(writing)
    assert (exit_code, errors) == (1, "")
    assert json.loads((tmp_path / "out.json").read_text()).keys() == {"red circle"}
