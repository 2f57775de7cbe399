"""`kosmos2-client batch` loses no picture and repeats none, when it or the service is disturbed.

It runs in an environment of its own, which has httpx and nothing of the service.
"""

import random
import resource
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.detections import CLASSES, are_same_detections, draw_folder
from harness.processes import ENGINE
from harness.service import RunningService, running_service
from harness.waiting import eventually
from kosmos2_client.run_file import read_lines

PACKAGE = Path(__file__).parents[2] / "clients" / "python"
NUM_PICTURES = 300
NUM_KILLS = 20
FEW = 40


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, installed alone."""
    folder = tmp_path_factory.mktemp("client")
    # pip builds in the folder itself, and would keep modules that were removed since.
    ignored = shutil.ignore_patterns("build", "*.egg-info")
    shutil.copytree(PACKAGE, folder / "package", ignore=ignored)
    venv.create(folder / "venv", with_pip=True)
    binaries = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [str(binaries / "python"), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", str(folder / "package")], check=True, timeout=600)
    listed = subprocess.run([*pip, "freeze"], capture_output=True, text=True, check=True).stdout
    assert "httpx==" in listed
    assert not {"torch", "numpy", "kosmos2-server"} & set(listed.replace("==", "\n").split())
    return binaries / "kosmos2-client"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    draw_folder(folder, NUM_PICTURES)
    return folder


@pytest.fixture(scope="module")
def few_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few_pictures")
    draw_folder(folder, FEW)
    return folder


@pytest.fixture(scope="module")
def undisturbed(
    client: Path, service: RunningService, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Any]:
    """The answers of a run that nothing disturbs, by path."""
    out = tmp_path_factory.mktemp("undisturbed") / "run.jsonl"
    finish(client, service, pictures, out)
    return answers_of(out)


def start(
    client: Path, service: RunningService, pictures: Path, out: Path, *options: str, **popen: Any
) -> subprocess.Popen[str]:
    command = [str(client), "batch", str(pictures), "--url", service.url, "--out", str(out)]
    return subprocess.Popen(
        [*command, "--classes", CLASSES, *options],
        stderr=subprocess.PIPE,
        text=True,
        **popen,
    )


def finish(
    client: Path, service: RunningService, pictures: Path, out: Path, *options: str, **popen: Any
) -> tuple[int, str]:
    """Run to the end; return the exit code and what the command printed for people."""
    process = start(client, service, pictures, out, *options, **popen)
    _, shown = process.communicate(timeout=600)
    return process.returncode, shown


def answers_of(out: Path) -> dict[str, Any]:
    """Return the answers of a run by path; no path may occur twice."""
    lines = list(read_lines(out))
    answers = {line.path: line.answer for line in lines}
    assert len(answers) == len(lines)
    return answers


def num_lines(out: Path) -> int:
    return out.read_bytes().count(b"\n") if out.exists() else 0


def check_same(answers: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert answers.keys() == expected.keys()
    different = [
        path for path in expected if not are_same_detections(answers[path], expected[path])
    ]
    assert different == []


def test_an_undisturbed_run_has_every_picture_with_its_size(undisturbed: Mapping[str, Any]) -> None:
    assert len(undisturbed) == NUM_PICTURES
    assert {answer["image"]["width"] for answer in undisturbed.values()} == {360}
    assert all(len(answer["predictions"]) >= 1 for answer in undisturbed.values())


def test_a_run_that_is_killed_twenty_times_equals_an_undisturbed_one(
    client: Path,
    service: RunningService,
    pictures: Path,
    undisturbed: Mapping[str, Any],
    tmp_path: Path,
) -> None:
    """SIGKILL at random moments: between lines, in requests, or while it starts."""
    out, rng = tmp_path / "run.jsonl", random.Random(7)
    for _ in range(NUM_KILLS):
        process = start(client, service, pictures, out, "--concurrency", "8")
        target = num_lines(out) + rng.randrange(NUM_PICTURES // NUM_KILLS)
        assert eventually(lambda at=target: num_lines(out) >= at)  # type: ignore[misc]
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert num_lines(out) < NUM_PICTURES
    assert finish(client, service, pictures, out)[0] == 0
    check_same(answers_of(out), undisturbed)


def test_a_run_on_a_full_disk_stops_and_continues_when_there_is_room(
    client: Path,
    service: RunningService,
    few_pictures: Path,
    tmp_path: Path,
) -> None:
    """The file may not grow beyond 20,000 bytes, which is in the middle of a line."""
    out = tmp_path / "run.jsonl"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    code, shown = finish(client, service, few_pictures, out, preexec_fn=limit)
    assert (code, "File too large" in shown) == (1, True)
    assert 0 < len(answers_of(out)) < FEW
    assert out.read_bytes().endswith(b"\n")
    assert finish(client, service, few_pictures, out)[0] == 0
    assert len(answers_of(out)) == FEW


def test_ctrl_c_stops_at_once_and_the_same_command_continues(
    client: Path, service: RunningService, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run.jsonl"
    # A shell lets its background jobs ignore Ctrl-C, and the tests may be one.
    as_in_a_terminal = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = start(client, service, pictures, out, preexec_fn=as_in_a_terminal)
    assert eventually(lambda: num_lines(out) > 3)
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in shown
    before = num_lines(out)
    process = start(client, service, pictures, out)
    assert eventually(lambda: num_lines(out) > before)
    process.kill()
    process.communicate()
    assert len(answers_of(out)) > before


@pytest.fixture(scope="module")
def narrow() -> Iterator[RunningService]:
    """A service with room for four requests, of which batch requests may use three."""
    with running_service(slots=2, max_waiting=2) as running:
        yield running


def test_a_full_service_costs_no_picture(
    client: Path, narrow: RunningService, few_pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run.jsonl"
    code, shown = finish(client, narrow, few_pictures, out, "--concurrency", "32")
    assert (code, "0 failed" in shown) == (0, True)
    assert all(answers_of(out).values())
    assert len(answers_of(out)) == FEW
    assert narrow.metric('kosmos2_admission_rejections_total{reason="overloaded"}') > 0


def test_an_engine_that_dies_costs_no_picture(
    client: Path, narrow: RunningService, few_pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run.jsonl"
    process = start(client, narrow, few_pictures, out)
    assert eventually(lambda: num_lines(out) > 3)
    narrow.child(ENGINE).kill()
    process.communicate(timeout=300)
    assert process.returncode == 0
    assert all(answers_of(out).values())
    assert len(answers_of(out)) == FEW


def test_errors_are_run_again_into_a_new_file(
    client: Path, service: RunningService, tmp_path: Path
) -> None:
    folder, out, again = tmp_path / "pictures", tmp_path / "run.jsonl", tmp_path / "again.jsonl"
    draw_folder(folder, 3)
    broken = folder / "broken.jpg"
    good = (folder / "part-0" / "000.jpg").read_bytes()
    broken.write_bytes(b"no picture")
    code, shown = finish(client, service, folder, out)
    assert (code, "1 failed" in shown) == (1, True)
    [error] = [line for line in read_lines(out) if line.error]
    assert (error.path, error.error and error.error.status) == ("broken.jpg", 422)
    broken.write_bytes(good)
    assert finish(client, service, folder, out)[0] == 0  # a rejected picture is final
    code, _ = finish(client, service, folder, again, "--retry-errors", str(out))
    assert code == 0
    assert answers_of(again).keys() == {"broken.jpg"}


def test_a_run_over_100_000_names_needs_little_memory(
    client: Path, service: RunningService, few_pictures: Path, tmp_path: Path
) -> None:
    """At most 200 bytes per name above the memory of a run over few names."""
    names = [str(path.relative_to(few_pictures)) for path in few_pictures.rglob("*.jpg")]
    done = [f"a/folder/with/a/name/of/some/length/{number:08}.jpg" for number in range(100_000)]
    peaks = []
    for number, finished in enumerate((done[:100], done)):
        names_file, out = tmp_path / f"{number}.txt", tmp_path / f"{number}.jsonl"
        names_file.write_text("\n".join([*finished, *names]))
        error = '"error": {"code": "c", "detail": "d", "status": 422}'
        out.write_text("".join(f'{{"path": "{name}", {error}}}\n' for name in finished))
        root = ("--root", str(few_pictures))
        process = start(client, service, names_file, out, *root)
        peaks.append(peak_bytes(process))
        assert process.returncode == 0
        assert num_lines(out) == len(finished) + FEW
    assert (peaks[1] - peaks[0]) / len(done) <= 200


def peak_bytes(process: subprocess.Popen[str]) -> int:
    """Return the largest resident memory of a process until it ends."""
    peak, running = 0, psutil.Process(process.pid)

    def has_ended() -> bool:
        nonlocal peak
        try:
            peak = max(peak, running.memory_info().rss)
        except psutil.NoSuchProcess:
            return True
        return process.poll() is not None

    assert eventually(has_ended, timeout_s=300)
    process.communicate()
    return peak
