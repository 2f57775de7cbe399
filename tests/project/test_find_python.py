"""`scripts/find-python` prints a suitable Python, or one line that explains how to get one."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "find-python"
# The script queries an interpreter twice: for its version, and for the module venv.
FITS = "exit 0"
OTHER_VERSION = "exit 1"
NO_VENV = 'case "$2" in *venv*) exit 1 ;; esac'


def find_python(
    folder: Path, interpreters: dict[str, str], *requested: str
) -> tuple[int, str, str]:
    """Run the script with only the given interpreters; return its exit code and its output."""
    for name, answer in interpreters.items():
        file = folder / name
        file.write_text(f"#!/bin/sh\n{answer}\n")
        file.chmod(0o755)
    environment = {**os.environ, "PATH": str(folder)}
    done = subprocess.run([SCRIPT, *requested], capture_output=True, text=True, env=environment)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("interpreters", "requested", "found"),
    [
        ({"python3": FITS, "python3.14": FITS}, "", "python3"),
        ({"python3": OTHER_VERSION, "python3.14": FITS, "python3.11": FITS}, "", "python3.14"),
        ({"python3.11": FITS}, "", "python3.11"),
        ({"python3": FITS, "python3.12": FITS}, "python3.12", "python3.12"),
    ],
)
def test_the_requested_python_is_used_or_the_first_suitable_one(
    tmp_path: Path, interpreters: dict[str, str], requested: str, found: str
) -> None:
    """`make` passes an empty name if none is requested."""
    assert find_python(tmp_path, interpreters, requested) == (0, f"{found}\n", "")


@pytest.mark.parametrize(
    ("interpreters", "requested", "fix"),
    [
        ({}, "", "install one, or name it with PYTHON="),
        ({"python3": OTHER_VERSION}, "", "install one, or name it with PYTHON="),
        ({"python3": FITS}, "python9", "python9: no such command"),
        (
            {"python2": OTHER_VERSION, "python3": FITS},
            "python2",
            "python2: not Python 3.11 to 3.14",
        ),
        ({"python3": NO_VENV}, "", "sudo apt install python3-venv"),
    ],
)
def test_without_a_suitable_python_one_line_explains_the_fix(
    tmp_path: Path, interpreters: dict[str, str], requested: str, fix: str
) -> None:
    """It is the first message that a new user sees, so it must be sufficient."""
    code, output, complaint = find_python(tmp_path, interpreters, requested)
    assert (code, output) == (1, "")
    assert fix in complaint
    assert complaint.count("\n") == 1


def test_the_versions_are_those_of_pyproject() -> None:
    """Both files have them, because the script runs without any Python."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = re.findall(r"3\.(\d+)", project["requires-python"])
    low, high = re.findall(r"\(3, (\d+)\)", SCRIPT.read_text())
    assert [low, high] == versions
