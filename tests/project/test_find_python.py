"""The rules of `scripts/find-python`: a Python that fits, or one line that names the fix."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "find-python"
# What stands in for an interpreter is asked two things: its version, and whether it has venv.
FITS = "exit 0"
OTHER_VERSION = "exit 1"
NO_VENV = 'case "$2" in *venv*) exit 1 ;; esac'


def find_python(folder: Path, interpreters: dict[str, str], *asked: str) -> tuple[int, str, str]:
    """Run the script where only the given interpreters are; its exit code and what it printed."""
    for name, answer in interpreters.items():
        file = folder / name
        file.write_text(f"#!/bin/sh\n{answer}\n")
        file.chmod(0o755)
    environment = {**os.environ, "PATH": str(folder)}
    done = subprocess.run([SCRIPT, *asked], capture_output=True, text=True, env=environment)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("interpreters", "asked", "found"),
    [
        ({"python3": FITS, "python3.14": FITS}, "", "python3"),
        ({"python3": OTHER_VERSION, "python3.14": FITS, "python3.11": FITS}, "", "python3.14"),
        ({"python3.11": FITS}, "", "python3.11"),
        ({"python3": FITS, "python3.12": FITS}, "python3.12", "python3.12"),
    ],
)
def test_the_python_asked_for_is_taken_else_the_first_that_fits(
    tmp_path: Path, interpreters: dict[str, str], asked: str, found: str
) -> None:
    """`make` hands over an empty name when none is asked for."""
    assert find_python(tmp_path, interpreters, asked) == (0, f"{found}\n", "")


@pytest.mark.parametrize(
    ("interpreters", "asked", "fix"),
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
def test_without_a_python_one_line_names_the_fix(
    tmp_path: Path, interpreters: dict[str, str], asked: str, fix: str
) -> None:
    """A stranger sees it first of all, and should need no other line."""
    code, output, complaint = find_python(tmp_path, interpreters, asked)
    assert (code, output) == (1, "")
    assert fix in complaint
    assert complaint.count("\n") == 1


def test_the_versions_are_those_of_pyproject() -> None:
    """They stand in both files, since the script runs where no Python may be."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = re.findall(r"3\.(\d+)", project["requires-python"])
    low, high = re.findall(r"\(3, (\d+)\)", SCRIPT.read_text())
    assert [low, high] == versions
