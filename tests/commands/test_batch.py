"""`kosmos2 batch`: a folder in, a run file out, with an engine of its own."""

import subprocess
import sys
from pathlib import Path

from harness.detections import CLASSES, draw_folder
from kosmos2_client.results import Detections
from kosmos2_client.run_file import Line, LineError, open_run, read_lines

BATCH = (sys.executable, "-m", "app.commands.cli", "batch")


WITHOUT_RAY = (
    sys.executable,
    "-c",
    "import sys; sys.modules['ray'] = None; from app.commands.cli import main; main()",
    "batch",
)


def run(*arguments: str, command: tuple[str, ...] = BATCH) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=180, check=False
    )


def test_a_run_is_continued_and_a_broken_picture_has_the_error_of_the_service(
    tmp_path: Path,
) -> None:
    folder, out = tmp_path / "pictures", tmp_path / "run.jsonl"
    draw_folder(folder, 4)
    (folder / "broken.png").write_bytes(b"no picture")
    with open_run(out) as writer:
        writer.append(Line("part-0/000.jpg", error=LineError("overloaded", "full", 503)))
    result = run(str(folder), "--classes", CLASSES, "--confidence", "0.3", "--out", str(out))
    assert (result.returncode, "5 of 5 pictures" in result.stderr) == (1, True), result.stderr
    lines = {line.path: line for line in read_lines(out)}
    assert len(lines) == 5
    assert lines["part-0/000.jpg"].error == LineError("overloaded", "full", 503)
    broken = lines["broken.png"].error
    assert broken is not None
    assert (broken.code, broken.status) == ("invalid_image", 422)
    found = lines["part-1/001.jpg"].result
    assert isinstance(found, Detections)
    assert lines["part-1/001.jpg"].options == {"confidence": 0.3}
    assert {one.class_name for one in found} == set(CLASSES.split(","))


def test_wrong_options_are_one_line(tmp_path: Path) -> None:
    """No checkpoint is opened before: it may be a download of gigabytes."""
    result = run(str(tmp_path), "--out", str(tmp_path / "run.jsonl"))
    assert result.returncode == 1
    assert result.stderr == "exactly one of --classes, --classes-file and --task is required\n"


def test_a_folder_in_an_object_store_needs_ray(tmp_path: Path) -> None:
    out = str(tmp_path / "run.jsonl")
    result = run("s3://bucket/photographs", "--classes", "a", "--out", out)
    assert result.returncode == 1
    assert result.stderr == "s3://bucket/photographs: a folder in an object store needs --ray\n"


def test_an_address_of_rays_client_is_refused(tmp_path: Path) -> None:
    """Ray Data failed there with a traceback."""
    options = ["--classes", "a", "--out", str(tmp_path / "run.jsonl")]
    result = run(str(tmp_path), *options, "--ray", "ray://head:10001")
    assert result.returncode == 1
    assert result.stderr.startswith("ray://head:10001: Ray Data does not run through Ray's client")


def test_ray_names_its_extra_where_it_is_missing(tmp_path: Path) -> None:
    out = str(tmp_path / "run.jsonl")
    result = run(str(tmp_path), "--classes", "a", "--out", out, "--ray", command=WITHOUT_RAY)
    assert result.returncode == 78
    assert result.stderr == "--ray needs pip install 'kosmos2-server[ray]'\n"
