"""`kosmos2 batch --ray` loses no picture and repeats none when an actor or the driver is killed.

Ray is in an environment of its own, which sees the packages of this one.
"""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from harness.detections import CLASSES, are_same_detections, draw_folder
from harness.waiting import eventually
from kosmos2_client.run_file import read_lines
from tests.clients.environments import python_with

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "ray" / "run.py"
SOURCES = os.pathsep.join([str(ROOT), str(ROOT / "clients" / "python" / "src")])
MARK = "TEST_OF_RAY_BATCH"
NUM_PICTURES = 200
WAIT_S = 400


@pytest.fixture(scope="module")
def python() -> Path:
    """An interpreter with Ray, and with everything that this one has."""
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    [version] = [pin.partition("==")[2] for pin in pins if pin.startswith("ray==")]
    interpreter = python_with(f"ray[data]=={version}")
    folder = interpreter.parents[1]
    own = sysconfig.get_path("purelib", vars={"base": str(folder)})
    Path(own, "server.pth").write_text(sysconfig.get_path("purelib"))
    return interpreter


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    draw_folder(folder, NUM_PICTURES)
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def expected(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """The lines of `kosmos2 batch` without Ray, by path."""
    out = tmp_path_factory.mktemp("expected") / "run.jsonl"
    command = [sys.executable, "-m", "app.commands.cli", "batch", str(pictures), "--out", str(out)]
    done = subprocess.run([*command, "--classes", CLASSES], timeout=600, check=False)
    assert done.returncode == 1  # one of the pictures is broken
    return lines_of(out)


@contextmanager
def running(
    python: Path, *arguments: str, stderr: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a batch, and end it with all processes of Ray at the end of the block."""
    mark = uuid4().hex
    environment = {"PYTHONPATH": SOURCES, "RAY_AUTH_MODE": "disabled", MARK: mark}
    command = [str(python), *arguments]
    process = subprocess.Popen(command, env=os.environ | environment, stderr=stderr)
    try:
        yield process
    finally:
        # Those of Ray may outlive a killed driver.
        for other in processes_with(mark):
            other.kill()
        process.wait()


def processes_with(mark: str) -> list[psutil.Process]:
    """Return the processes that have a mark in their environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended, or belongs to another user
            if process.environ().get(MARK) == mark:
                found.append(process)
    return found


def lines_of(out: Path) -> dict[str, Any]:
    """Return the lines of a run by path; no path may occur twice."""
    lines = list(read_lines(out))
    by_path = {line.path: line for line in lines}
    assert len(by_path) == len(lines)
    return by_path


def num_lines(out: Path) -> int:
    return out.read_bytes().count(b"\n") if out.exists() else 0


def actors_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return the processes of actors that answer pictures."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.Error):  # it ends just now
            if "EngineWorker" in " ".join(child.cmdline()):
                found.append(child)
    return found


def check_same(lines: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert lines.keys() == expected.keys()
    for path, line in lines.items():
        assert line.error == expected[path].error
        if line.answer is not None:
            assert are_same_detections(line.answer, expected[path].answer)


def test_a_killed_actor_loses_and_repeats_nothing(
    python: Path, pictures: Path, expected: Mapping[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "run.jsonl"
    with running(python, str(SCRIPT), str(pictures), str(out), CLASSES) as process:
        assert eventually(lambda: len(actors_of(process)) == 2, WAIT_S)
        assert eventually(lambda: num_lines(out) > 0, WAIT_S)
        actor = actors_of(process)[0]
        actor.kill()
        assert process.wait(timeout=WAIT_S) == 1
    check_same(lines_of(out), expected)


def test_a_killed_command_continues(
    python: Path, pictures: Path, expected: Mapping[str, Any], tmp_path: Path
) -> None:
    """It reads the pictures through the file systems that Ray Data has, here that of the disk."""
    out = tmp_path / "run.jsonl"
    arguments = ["-m", "app.commands.cli", "batch", pictures.as_uri(), "--out", str(out)]
    arguments += ["--classes", CLASSES, "--ray-engines", "1", "--ray-cores", "1", "--ray"]
    with running(python, *arguments) as process:
        assert eventually(lambda: num_lines(out) > 0, WAIT_S)
        process.kill()
    assert num_lines(out) < len(expected)
    with running(python, *arguments) as process:
        assert process.wait(timeout=WAIT_S) in {0, 1}  # 1 if the broken picture was not done
    check_same(lines_of(out), expected)


def test_a_refused_request_stops_the_run_with_its_reason(
    python: Path, pictures: Path, tmp_path: Path
) -> None:
    """Every picture would be refused, so no line is written."""
    out = tmp_path / "run.jsonl"
    arguments = ["-m", "app.commands.cli", "batch", str(pictures), "--out", str(out)]
    arguments += ["--classes", CLASSES, "--confidence", "1.5", "--ray-cores", "1", "--ray", "local"]
    with running(python, *arguments, stderr=subprocess.PIPE) as process:
        _, printed = process.communicate(timeout=WAIT_S)
    last = printed.decode().strip().splitlines()[-1]
    assert "confidence: input should be less than or equal to 1" in last
    assert num_lines(out) == 0
