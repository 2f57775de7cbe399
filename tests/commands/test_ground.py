"""`kosmos2 ground`: several pictures, without a server."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from app.commands.pictures import json_line
from harness.pictures import picture_file

NAME = "\u732b\U0001f408é.png"
GROUND = (sys.executable, "-m", "app.commands.cli", "ground")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GROUND, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_pictures_are_answered_and_drawn_and_a_broken_one_is_reported(tmp_path: Path) -> None:
    """A file that is not a picture does not stop the others."""
    for number, color in enumerate(("gray", "olive", "navy")):
        (tmp_path / f"{number}.png").write_bytes(picture_file(color=color))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    pictures = sorted(str(path) for path in tmp_path.glob("*.png"))
    boxes = tmp_path / "boxes"
    result = run(*pictures, "--task", "brief_caption", "--json", "--save-annotated", str(boxes))
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 1
    assert {Path(answer["picture"]).name for answer in answers} == {"0.png", "1.png", "2.png"}
    assert all(answer["entities"] for answer in answers)
    assert "broken.png: " in result.stderr
    assert sorted(path.name for path in boxes.iterdir()) == ["0.png", "1.png", "2.png"]
    with Image.open(boxes / "0.png") as drawn:
        assert drawn.size == (320, 240)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--task", "phrase_grounding"], "text: is required by the task phrase_grounding"),
        (["--task", "brief_caption", "--text", "a"], "text: is not used by the task brief_caption"),
    ],
)
def test_fields_that_do_not_fit_the_task_are_reported_before_a_checkpoint_is_opened(
    tmp_path: Path, options: list[str], reason: str
) -> None:
    (tmp_path / "scene.png").write_bytes(picture_file())
    result = run(str(tmp_path / "scene.png"), "--model", "/no/such/model", *options)
    assert (result.returncode, result.stderr) == (1, f"{reason}\n")


def test_one_picture_is_drawn_into_the_named_file_and_nothing_is_logged(tmp_path: Path) -> None:
    """Standard error has only the notice about the embedded checkpoint."""
    (tmp_path / "scene.png").write_bytes(picture_file())
    drawn = tmp_path / "drawn.webp"
    result = run(
        str(tmp_path / "scene.png"), "--task", "phrase_grounding", "--text", "a red circle",
        "--save-annotated", str(drawn),
    )  # fmt: skip
    assert result.returncode == 0
    assert result.stdout.splitlines()[0].startswith("a red circle")
    with Image.open(drawn) as image:
        assert image.format == "WEBP"
    assert [line for line in result.stderr.splitlines() if line.startswith("{")] == []
    assert "memory planned" not in result.stderr


@pytest.mark.parametrize("option", ["--json", None])
def test_ground_exits_without_a_traceback_when_its_reader_closes_the_pipe(
    tmp_path: Path, option: str | None
) -> None:
    """As in `kosmos2 ground *.png --json | head -1`."""
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(picture_file())
    pictures = [str(path) for path in tmp_path.glob("*.png")]
    command = [*GROUND, *pictures, "--task", "brief_caption", *([option] if option else [])]
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as closed_pipe:
        result = subprocess.run(
            command, stdout=closed_pipe, stderr=subprocess.PIPE, text=True, timeout=180, check=False
        )
    assert "Traceback" not in result.stderr
    assert "BrokenPipe" not in result.stderr
    assert result.returncode == 1


def test_an_answer_is_json_in_any_encoding_and_the_engine_logs_at_the_set_level(
    tmp_path: Path,
) -> None:
    """`test_a_line_of_json_fits_the_encoding_of_the_output` has the other encodings."""
    picture = tmp_path / NAME
    picture.write_bytes(picture_file())
    result = subprocess.run(
        [*GROUND, str(picture), "--task", "brief_caption", "--json"],
        env=os.environ | {"PYTHONIOENCODING": "latin-1", "KOSMOS2_LOG_LEVEL": "info"},
        capture_output=True,
        timeout=180,
        check=True,
    )
    assert json.loads(result.stdout.decode("latin-1"))["picture"] == str(picture)
    assert b'"event": "engine ready"' in result.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "UTF8", "utf-16"])
def test_a_line_of_json_fits_the_encoding_of_the_output(encoding: str) -> None:
    """UTF-8 shows the characters themselves; other encodings get the escapes of JSON."""
    line = json_line({"picture": NAME}, encoding)
    assert json.loads(line.encode(encoding).decode(encoding)) == {"picture": NAME}
    assert (NAME in line) == encoding.lower().startswith("utf")
