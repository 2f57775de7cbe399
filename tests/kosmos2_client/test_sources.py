"""Names of pictures from folders, patterns, lists and tables."""

import os
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from kosmos2_client.batch.names import NameSet
from kosmos2_client.batch.sources import InvalidSource, Sources, root_of
from kosmos2_client.run_file import Line, LineError, open_run
from tests.kosmos2_client.answers import detections

NUM_NAMES = 100_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three pictures, of which one is in a subfolder."""
    hidden = ("._a.jpg", ".thumbnails/a.jpg", ".thumbnails/deep/a.jpg")
    for name in ("a.jpg", "B.PNG", "sub/deep/c.webp", "notes.txt", *hidden):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


def names_of(root: Path, *sources: str | Path, column: str = "path") -> list[str]:
    return list(Sources([str(source) for source in sources], root, column).names(NameSet()))


def test_a_folder_is_searched_with_its_subfolders(folder: Path) -> None:
    assert sorted(names_of(folder, folder)) == ["B.PNG", "a.jpg", "sub/deep/c.webp"]


def test_a_circle_of_links_ends(folder: Path) -> None:
    (folder / "sub" / "circle").symlink_to(folder)
    (folder / "linked.jpg").symlink_to(folder / "a.jpg")
    assert sorted(names_of(folder, folder)) == ["B.PNG", "a.jpg", "linked.jpg", "sub/deep/c.webp"]


def test_a_hidden_folder_that_is_named_is_searched(folder: Path) -> None:
    hidden = folder / ".thumbnails"
    assert sorted(names_of(hidden, hidden)) == ["a.jpg", "deep/a.jpg"]


def test_a_subfolder_that_cannot_be_read_does_not_end_the_search(folder: Path) -> None:
    """It is named like a picture, and reading it gives the error."""
    here, name = Path.cwd(), "n" * 200
    try:
        os.chdir(folder)
        for _ in range(21):  # deeper than the longest path of the system
            os.mkdir(name)
            os.chdir(name)
    finally:
        os.chdir(here)
    *pictures, unreadable = sorted(names_of(folder, folder), key=len)
    assert pictures == ["a.jpg", "B.PNG", "sub/deep/c.webp"]
    with pytest.raises(OSError, match="too long"):
        (folder / unreadable).read_bytes()


def test_patterns_and_files_are_relative_to_the_root(folder: Path) -> None:
    assert names_of(folder / "sub", folder / "a.jpg") == ["../a.jpg"]
    assert sorted(names_of(folder, folder / "**" / "*.[jw]*")) == ["a.jpg", "sub/deep/c.webp"]


def test_a_picture_that_two_sources_name_is_run_once(folder: Path) -> None:
    (folder / "list.txt").write_text(f"a.jpg\n\n./a.jpg\nsub/../a.jpg\n{folder / 'a.jpg'}\n")
    assert sorted(names_of(folder, folder, folder / "list.txt", folder / "a.jpg")) == sorted(
        names_of(folder, folder)
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.txt", "a.jpg\nsub/x y.jpg\n"),
        ("list.txt", "\ufeffa.jpg\nsub/x y.jpg\n"),
        ("list.jsonl", '\ufeff{"file": "a.jpg"}\n{"file": "sub/x y.jpg"}\n'),
        ("list.jsonl", '{"file": "a.jpg"}\n{"file": "sub/x y.jpg", "n": 1}\n'),
        ("list.csv", '\ufeffn,file\n1,a.jpg\n2,"sub/x y.jpg"\n'),
    ],
)
def test_paths_of_lists_are_relative_to_the_root(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    root = tmp_path / "elsewhere"
    assert names_of(root, tmp_path / name, column="file") == ["a.jpg", "sub/x y.jpg"]


def test_pipes_and_devices_of_a_folder_are_left_out(tmp_path: Path) -> None:
    """Reading them might never end."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    (tmp_path / "broken.jpg").symlink_to("missing.jpg")
    (tmp_path / "circle.jpg").symlink_to("circle.jpg")
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "link.jpg").symlink_to("a.jpg")
    names = ["a.jpg", "broken.jpg", "circle.jpg", "link.jpg"]
    assert sorted(names_of(tmp_path, tmp_path)) == names


@pytest.mark.skipif(sys.platform == "darwin", reason="names must be Unicode there")
def test_a_name_that_is_no_unicode_is_kept(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.jpg")).write_bytes(b"")
    [name] = names_of(tmp_path, tmp_path)
    (tmp_path / "list.txt").write_bytes(b"\xff.jpg\n")
    assert names_of(tmp_path, tmp_path / "list.txt") == [name]
    assert (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("list.jsonl", '{"path": "a"}\n{"file": "b"}\n', "line 2"),
        ("list.jsonl", "no JSON\n", "line 1"),
        ("list.csv", "file\na\n", "no column 'path'"),
        ("list.csv", "n,path\n1,a\n2\n", "entry 2: no text in column 'path'"),
        ("list.csv", "path\n\udcff\n", "must be UTF-8"),
        ("list.jsonl", '{"path": "\udcff"}\n', "must be UTF-8"),
        ("list.jsonl", '{"path": "\\ud800.jpg"}\n', "entry 1: no path"),
        ("list.txt", "a\0.\0j\0p\0g\0\n", "entry 1: no path, or the list is not UTF-8"),
    ],
)
def test_an_invalid_list_is_reported(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(InvalidSource, match=message):
        names_of(tmp_path, tmp_path / name)


def test_a_file_that_is_no_parquet_is_reported(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not a dependency of this project")
    (tmp_path / "list.parquet").write_bytes(b"no Parquet at all")
    with pytest.raises(InvalidSource, match=r"list\.parquet: "):
        names_of(tmp_path, tmp_path / "list.parquet")


def test_a_missing_source_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InvalidSource, match="no such file"):
        names_of(tmp_path, tmp_path / "missing")


@pytest.mark.parametrize("source", ["", "*.gif", "sub/**/*.jpg"])
def test_a_folder_or_a_pattern_without_pictures_is_reported(tmp_path: Path, source: str) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InvalidSource, match="no pictures found"):
        names_of(tmp_path, tmp_path / source)


def test_the_only_folder_is_the_root(folder: Path) -> None:
    assert root_of([str(folder)]) == folder
    assert root_of([str(folder), str(folder)]) == Path()
    assert root_of([str(folder / "a.jpg")]) == Path()


def test_only_pictures_with_an_error_are_run_again(folder: Path) -> None:
    run = folder / "run.jsonl"
    with open_run(run) as writer:
        writer.append(Line.of_answer("a.jpg", detections("x")))
        writer.append(Line("B.PNG", error=LineError("overloaded", "full", 503)))
    assert list(Sources([str(folder)], folder, only_errors_of=run).names(NameSet())) == ["B.PNG"]


def bytes_per_name(count: Callable[[], int], num_names: int) -> float:
    """Return the peak of the memory that `count` needs, divided by the names that it counts."""
    tracemalloc.start()
    try:
        assert count() == num_names
        return tracemalloc.get_traced_memory()[1] / num_names
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_a_run_needs_at_most_200_bytes_per_name(tmp_path: Path) -> None:
    """Half of the names are done, as when a run is continued."""
    folder = "a/folder/with/a/name/of/some/length"
    with (tmp_path / "list.txt").open("w") as file:
        file.writelines(f"{folder}/picture-{number:08}.jpg\n" for number in range(NUM_NAMES))
    sources = Sources([str(tmp_path / "list.txt")], tmp_path)

    def run() -> int:
        done = NameSet()
        for number in range(NUM_NAMES // 2):
            done.add(f"{folder}/picture-{number:08}.jpg")
        return NUM_NAMES // 2 + sum(1 for _ in sources.names(done))

    assert bytes_per_name(run, NUM_NAMES) <= 200


def test_a_folder_is_read_without_keeping_its_names(tmp_path: Path) -> None:
    num_names = 1000
    for number in range(num_names):
        (tmp_path / f"a-picture-with-a-rather-long-name-{number}.jpg").touch()
    sources = Sources([str(tmp_path)], tmp_path)
    assert bytes_per_name(lambda: sum(1 for _ in sources.names(NameSet())), num_names) <= 200
