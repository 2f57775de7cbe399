"""`kosmos2 verify` on the embedded checkpoint and on random weights, as an operator runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import EMBEDDED_CHECKPOINT

pytestmark = pytest.mark.processes


def run_verify(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.commands.cli", "verify", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


def test_the_embedded_checkpoint_passes(tmp_path: Path) -> None:
    """Against its own recorded answers, over every interface; with a report."""
    done = run_verify(EMBEDDED_CHECKPOINT, "--dtype", "float32", "--report", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for line in (
        "alone, float32 on cpu: 10 of 10 answers equal",
        "batch, float32 on cpu: 16 of 16 answers equal",
        "HTTP, float32 on cpu: 10 of 10 answers equal",
        "streamed, float32 on cpu: 10 of 10 answers equal",
        "generate of transformers, float32 on cpu: 10 of 10 token sequences equal",
    ):
        assert f"ok          {line}" in done.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["passed"] is True
    assert report["runs"][0]["num_equal"] == report["runs"][0]["num_answers"] == 46
    assert report["runs"][0]["largest_logit_difference"] < 1e-3
    assert {"date", "commit", "python", "torch", "transformers", "cpu"} <= report["machine"].keys()
    assert len(report["checksums"]["model.safetensors"]) == 64
    page = (tmp_path / "report.html").read_text()
    assert "kosmos2 verify: kosmos2-shapes-demo: passed" in page
    assert report["checksums"]["model.safetensors"] in page


@pytest.mark.parametrize(
    "option", ["--device", "--dtype", "--picture", "--refcoco", "--flickr30k", "--images"]
)
def test_an_option_that_cannot_be_used_is_reported_before_the_checks(option: str) -> None:
    done = run_verify(option, "missing")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"Invalid value for '{option}'" in done.stderr


@pytest.mark.skipif(not Path("/proc").exists(), reason="no folder that root cannot write to")
def test_a_folder_that_takes_no_files_is_reported_before_the_checks() -> None:
    done = run_verify("--report", "/proc")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)


def test_a_report_that_cannot_be_written_is_reported_before_the_checks(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run_verify("--report", tmp_path / "file" / "report")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "not a directory" in done.stderr
