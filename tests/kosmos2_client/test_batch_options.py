"""Options and files of `kosmos2-client batch` that cannot be used are one line for people."""

import shlex
from pathlib import Path

import pytest

from kosmos2_client.cli import main


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"a picture")
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--concurrency", "0"], "--concurrency must be at least 1"),
        (["--patience", "-1"], "--patience must be more than 0"),
        (["--timeout", "nan"], "--timeout must be more than 0"),
        (["--url", "http://[::1"], "is invalid"),
        (["--url", "http://localhost:99999"], "no valid port"),
        (["--url", "http://"], "no host"),
        (["--classes", '[["a"]]'], "a JSON list of names"),
        (["--classes", "[5]"], "a JSON list of names"),
        (["--task", "brief_caption"], "exactly one of --classes, --classes-file and --task"),
        (["--classes", "[red circle]"], "no JSON list"),
    ],
)
def test_invalid_options_are_reported(
    options: list[str], message: str, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(picture.with_name("run.jsonl"))
    command = ["batch", str(picture), "--url", "http://localhost:1", "--classes", "a"]
    assert main([*command, "--out", out, *options]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


def test_the_command_in_the_help_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """People copy it."""
    with pytest.raises(SystemExit, match="0"):
        main(["batch", "--help"])
    [example] = [line for line in capsys.readouterr().out.splitlines() if "photographs/" in line]
    words = shlex.split(example)
    assert words[:2] == ["kosmos2-client", "batch"]
    assert words[-2:] == ["--out", "run.jsonl"]


def test_errors_are_not_tried_again_in_their_own_file(
    picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every picture has a line there, so nothing would be run."""
    run = picture.with_name("run.jsonl")
    run.write_text("")
    command = ["batch", str(picture), "--url", "http://localhost:1", "--classes", "a"]
    other_name = str(run.parent / ".." / run.parent.name / run.name)
    assert main([*command, "--out", str(run), "--retry-errors", other_name]) == 1
    assert "another file than that of --retry-errors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "content", "message"),
    [
        ("--api-key-file", b"\xff\n", "must be UTF-8"),
        ("--classes-file", b"\xff\n", "must be UTF-8"),
        ("--api-key-file", b" \n", "has no API key"),
    ],
)
def test_files_that_cannot_be_used_are_reported(
    option: str, content: bytes, message: str, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = picture.with_name("file.txt")
    file.write_bytes(content)
    what = [] if option == "--classes-file" else ["--classes", "a"]
    command = ["batch", str(picture), "--url", "http://localhost:1", *what, option, str(file)]
    assert main([*command, "--out", str(picture.with_name("run.jsonl"))]) == 1
    assert f"file.txt: {message}" in capsys.readouterr().err


def test_a_missing_file_is_reported_without_the_number_of_the_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "missing.jsonl"
    assert main(["export", str(missing), "--format", "csv", "--out", str(tmp_path / "a.csv")]) == 1
    assert capsys.readouterr().err == f"kosmos2-client: {missing}: no such file or directory\n"


def test_a_key_that_no_header_can_hold_is_reported_without_the_key(
    picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = picture.with_name("key.txt")
    file.write_text("schlüssel", encoding="utf-8")
    command = ["batch", str(picture), "--url", "http://localhost:1", "--classes", "a"]
    options = ["--api-key-file", str(file), "--out", str(picture.with_name("run.jsonl"))]
    assert main([*command, *options]) == 1
    shown = capsys.readouterr().err
    assert "printable ASCII" in shown
    assert "schlüssel" not in shown


@pytest.mark.parametrize("content", [b"\xff", "schlüssel".encode()])
def test_a_token_of_label_studio_that_cannot_be_sent_is_reported(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token.txt").write_bytes(content)
    urls = ["--url", "http://localhost:1", "--label-studio-url", "http://localhost:2"]
    token = str(tmp_path / "token.txt")
    assert main(["label-studio", *urls, "--token-file", token, "--port", "0"]) == 1
    assert "token.txt: " in capsys.readouterr().err
