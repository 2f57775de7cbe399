"""Run files: lines that are read as they were written, after any interruption."""

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.pictures import picture_file
from kosmos2_client import InvalidRunFile
from kosmos2_client.run_file import Line, LineError, open_run, read_lines, read_paths
from tests.kosmos2_client.answers import detections

ERROR = LineError("invalid_image", "not a picture", 422)
LINES = [
    Line.of_answer("sub/a.jpg", detections("red circle")),
    Line("b \u2028 \udcff ü.png", error=ERROR),
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "run.jsonl"
    with open_run(path) as writer:
        for line in LINES:
            writer.append(line)
    return path


def test_lines_are_read_as_they_were_written(run: Path) -> None:
    """File names may contain line separators of Unicode, and bytes that are no Unicode."""
    assert list(read_lines(run)) == LINES
    assert list(read_paths(run)) == [line.path for line in LINES]
    assert run.read_bytes().count(b"\n") == 2


def test_a_line_has_the_size_and_the_orientation_of_the_picture(run: Path) -> None:
    first = run.read_text().splitlines()[0]
    start = '{"path": "sub/a.jpg", "image": {"width": 200, "height": 100, "orientation": 6}, '
    assert first.startswith(start)


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_a_partial_last_line_is_ignored_and_then_cut_off(run: Path, cut: int) -> None:
    """The process was killed while it wrote."""
    complete = run.read_bytes()
    run.write_bytes(complete[:-cut])
    assert list(read_lines(run)) == LINES[:1]
    with open_run(run) as writer:
        writer.append(LINES[1])
    assert run.read_bytes() == complete


def test_a_partial_line_longer_than_a_block_is_cut_off(run: Path) -> None:
    complete = run.read_bytes()
    partial = b'{"path": "' + b"x" * 200_000
    run.write_bytes(complete + partial)
    with open_run(run):
        pass
    assert run.read_bytes() == complete
    run.write_bytes(partial)
    with open_run(run):
        pass
    assert run.read_bytes() == b""


@contextmanager
def small_files() -> Iterator[None]:
    """Let this process write files of at most 1000 bytes, as on a full disk.

    Not a fixture: pytest itself would write its output under the limit.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("content", [picture_file(), b"no line end", b'{"path":"a"}'])
def test_a_file_that_is_no_run_file_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    """A picture may be passed as `--out` by mistake."""
    path = tmp_path / "scene.png"
    path.write_bytes(content)
    with pytest.raises(InvalidRunFile, match="not a run file"), open_run(path):
        pass
    assert path.read_bytes() == content


def test_a_line_that_does_not_fit_is_not_written_at_all(tmp_path: Path) -> None:
    """Without a partial line, the run can continue as soon as the disk has room."""
    path = tmp_path / "run.jsonl"
    line = Line("a.jpg", error=LineError("c", "d" * 300, 422))
    size = len(line.to_json()) + 1
    with small_files(), open_run(path) as writer:
        writer.append(line)
        writer.append(line)
        with pytest.raises(OSError, match="too large"):
            writer.append(line)
        assert path.stat().st_size == 2 * size
        writer.append(Line("b", error=ERROR))
    assert [one.path for one in read_lines(path)] == ["a.jpg", "a.jpg", "b"]


def test_two_processes_cannot_write_the_same_file(tmp_path: Path) -> None:
    with (
        open_run(tmp_path / "run.jsonl"),
        pytest.raises(OSError, match="another process"),
        open_run(tmp_path / "run.jsonl"),
    ):
        pass


@pytest.mark.parametrize(
    "text",
    [
        *("", "no JSON", "[]", '{"path": 7}', '{"path": "a"}', '{"image": {}, "path": "a"}'),
        *('{"path": "a", "answer": 5}', '{"path": 7, "answer": {}}'),
    ],
)
def test_other_lines_are_reported_with_their_number(run: Path, text: str) -> None:
    with run.open("a") as file:
        file.write(f"{text}\n")
    with pytest.raises(InvalidRunFile, match="line 3"):
        list(read_lines(run))


def test_a_damaged_line_is_reported_when_a_run_continues_it(run: Path) -> None:
    with run.open("ab") as file:
        file.write(b'{"path": "\xff\n')
    with pytest.raises(InvalidRunFile, match="line 3"):
        list(read_paths(run))


def test_a_file_without_paths_is_reported_when_a_run_continues_it(tmp_path: Path) -> None:
    """Otherwise a typing mistake after --out would damage another file."""
    path = tmp_path / "notes.txt"
    path.write_text("my notes\n")
    with pytest.raises(InvalidRunFile, match="line 1"):
        list(read_paths(path))
    assert os.path.getsize(path) == 9
