"""Every block of the README is executed or compared with what it describes."""

import io
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness import loopback
from harness.requirements import require_programs
from harness.service import RunningService

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
URL = "http://127.0.0.1:8000"
# What the Python block prints for each box: phrase, four pixels, confidence.
BOX_LINE = re.compile(r"(?P<phrase>[a-z ]+) \[(\d+\.\d+(, )?){4}\] \d+%")
SCENE = ROOT / "app" / "demo" / "scenes" / "two_red_circles_and_blue_square.jpg"
ANNOTATED = ROOT / "docs" / "images" / "two_red_circles_and_blue_square_annotated.png"
PLAYGROUND = ROOT / "docs" / "images" / "playground.png"
# Programs whose lines are executed below or by the named tests.
CHECKED_PROGRAMS = {
    "make": "tests/project/test_docs.py",
    ".venv/bin/kosmos2": "tests/project/test_docs.py",
    "curl": "tests/project/test_readme.py",
    "docker": "tests/deploy/test_files.py, tests/deploy/test_image.py",
    "kubectl": "tests/deploy/test_kubernetes.py",
}


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language, in order."""
    return [text for name, text in BLOCKS if name == language]


def shell_lines(program: str = "") -> list[str]:
    """Return the commands of all shell blocks, without comments; those of one program if named."""
    script = "".join(blocks("sh")).replace("\\\n", " ").splitlines()
    lines = [shlex.join(shlex.split(line, comments=True)) for line in script]
    return [line for line in lines if line and line.startswith(program)]


def is_part_of(part: Any, whole: Any) -> bool:
    """Return whether `part` equals `whole` except for omitted members and rounded numbers.

    >>> is_part_of({"a": [{"b": 0.33}]}, {"a": [{"b": 0.3333, "c": 1}], "d": 2})
    True
    """
    if isinstance(part, dict):
        return all(name in whole and is_part_of(part[name], whole[name]) for name in part)
    if isinstance(part, list):
        return len(part) == len(whole) and all(map(is_part_of, part, whole))
    return bool(
        part == pytest.approx(whole, abs=0.005) if isinstance(part, float) else part == whole
    )


def results(folder: str, name: str) -> dict[str, Any]:
    """Return the result that a benchmark or a reliability command has written."""
    content: dict[str, Any] = json.loads((ROOT / "results" / folder / f"{name}.json").read_text())
    return content


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    """A new kind of block needs a test first."""
    assert {language for language, _ in BLOCKS} == {"json", "python", "sh"}
    assert {line.split()[0] for line in shell_lines()} == CHECKED_PROGRAMS.keys()


def test_the_first_commands_are_make_run_and_make_test() -> None:
    """The short way from a clone to a running service, and to proof that it works."""
    targets = [line for line in shell_lines("make ") if "=" not in line]
    assert targets == ["make run", "make test"]


def test_every_variable_passed_to_make_exists() -> None:
    """`make` ignores a variable that it does not know, so a typo would have no effect."""
    makefile = (ROOT / "Makefile").read_text()
    variables = {name for line in shell_lines("make ") for name in re.findall(r"([A-Z_]+)=", line)}
    assert variables == {"MODEL"}
    assert all(re.search(rf"^{name} =", makefile, re.MULTILINE) for name in variables)


def test_every_kubernetes_overlay_exists() -> None:
    folders = [line.split()[-1] for line in shell_lines("kubectl apply -k ")]
    assert folders
    assert [name for name in folders if not (ROOT / name / "kustomization.yaml").is_file()] == []


def test_every_picture_exists() -> None:
    pictures = re.findall(r'<img src="([^"]+)"', README)
    assert pictures == [str(file.relative_to(ROOT)) for file in (SCENE, ANNOTATED, PLAYGROUND)]
    assert all((ROOT / name).is_file() for name in pictures)


def test_the_answer_is_part_of_a_real_answer(service: RunningService) -> None:
    """The curl of the README returns it; numbers may differ in the last digit."""
    require_programs("curl")
    (curl,) = shell_lines("curl ")
    (shown,) = blocks("json")
    command = shlex.split(curl.replace(URL, service.url))
    done = subprocess.run([*command, "--silent"], cwd=ROOT, capture_output=True, check=True)
    assert is_part_of(json.loads(shown), json.loads(done.stdout))
    assert len(shown.splitlines()) == 8


def test_the_annotated_picture_is_the_services_own(service: RunningService) -> None:
    """Another checkpoint or another way of drawing needs another picture in docs/images."""
    response = loopback.post(
        f"{service.url}/v1/annotate",
        files={"image": SCENE.read_bytes()},
        data={"task": "brief_caption"},
        headers={"Accept": "image/png"},
        timeout=60,
    ).raise_for_status()
    drawn, committed = (
        np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=np.int16)
        for content in (response.content, ANNOTATED.read_bytes())
    )
    assert drawn.shape == committed.shape
    # Fonts are hinted differently by other builds of FreeType.
    assert np.abs(drawn - committed).mean() < 1


def test_the_python_block_runs(service: RunningService) -> None:
    """It prints phrase, refined box and confidence of every box, then the events of a stream."""
    program = "".join(blocks("python")).replace(URL, service.url)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    boxes = [BOX_LINE.fullmatch(line) for line in lines[:3]]
    assert [box and box["phrase"] for box in boxes] == [
        "two red circles", "two red circles", "a blue square",
    ]  # fmt: skip
    assert "event: token" in lines
    assert "event: done" in lines


def test_the_numbers_are_those_of_the_results() -> None:
    """A number in prose must not outlive the run that measured it."""
    rows = results("benchmarks", "closed_loop")["rows"]
    ours, one_at_a_time, litserve = (
        next(row for row in rows if row["server"] == server and row["clients"] == 32)
        for server in ("this service", "generate, one at a time", "LitServe")
    )
    chaos, overload, fuzz = (results("reliability", name) for name in ("chaos", "overload", "fuzz"))
    kept = overload["3x"]["goodput_per_s"] / overload["1x"]["goodput_per_s"]
    why = " ".join(README.partition("## Why")[2].partition("\n## ")[0].split())
    assert all(row["right"] == 1 for row in rows if row["server"] == "this service")
    assert f"{ours['requests/s']:.1f} requests/s" in why
    assert f"{litserve['requests/s']:.1f} for LitServe" in why
    assert f"{one_at_a_time['requests/s']:.1f} for `generate`" in why
    assert f"{sum(chaos['faults'].values())} injected faults" in why
    assert f"{chaos['faults']['kill_engine']} of them killed engines" in why
    assert f"{chaos['sent']:,} requests: {chaos['lost']} requests lost" in why
    assert f"{chaos['answered_twice']} answered twice" in why
    assert f"{chaos['answered_differently']} answers changed" in why
    assert f"{chaos['lost_with_their_process']} were cut off" in why
    assert f"{kept:.0%} of the goodput".replace("%", " %") in why
    assert f"{fuzz['bad_inputs']:,} damaged pictures and requests" in why
    assert f"{fuzz['server_errors']} internal errors" in why
    assert f"{fuzz['processes_ended']} crashed processes" in why


def test_the_badge_names_the_python_versions_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    low, high = re.findall(r"3\.(\d+)", project["requires-python"])
    badge = (ROOT / "docs" / "images" / "python.svg").read_text()
    assert f"3.{low} to 3.{int(high) - 1}" in badge
    assert f"Python 3.{low} to 3.{int(high) - 1}" in README
