"""`kosmos2 detect`: class names and pictures in, boxes out, without a server."""

import json
import subprocess
import sys
from pathlib import Path

from app.contract.examples import EXAMPLE_SCENE

DETECT = (sys.executable, "-m", "app.commands.cli", "detect")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DETECT, *arguments], capture_output=True, text=True, timeout=180, check=False
    )


def test_pictures_are_searched_and_drawn_and_a_broken_one_is_reported(tmp_path: Path) -> None:
    """A file that is not a picture does not stop the others."""
    broken, boxes = tmp_path / "broken.png", tmp_path / "boxes"
    broken.write_bytes(b"no picture")
    classes = ("--classes", "red circle, green star", "--confidence", "0.3")
    pictures = (str(EXAMPLE_SCENE), str(broken))
    result = run(*pictures, *classes, "--json", "--save-annotated", str(boxes))
    assert result.returncode == 1
    [answer] = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["class"] for one in answer["predictions"]] == ["red circle"] * 2
    assert [path.name for path in boxes.iterdir()] == [f"{EXAMPLE_SCENE.stem}.png"]
    assert "broken.png: " in result.stderr


def test_people_read_a_line_per_object_and_the_missing_classes() -> None:
    result = run(str(EXAMPLE_SCENE), "--classes", "blue square,heart", "--confidence", "0.3")
    assert result.returncode == 0, result.stderr
    found, missing = result.stdout.splitlines()
    assert found.startswith("blue square: [")
    assert missing == "not found: heart"


def test_a_wrong_list_of_classes_is_one_line() -> None:
    result = run(str(EXAMPLE_SCENE), "--classes", "disc,disc")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "classes[1]: occurs twice"
