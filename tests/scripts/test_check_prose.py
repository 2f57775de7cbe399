"""`make check` reports banned words where people read them, with their line."""

import re
from pathlib import Path

import pytest

from scripts.check_prose import check, main, read_words

WORDS = [(re.compile(r"\bwhoever\b", re.I), "a noun")]


def findings(path: Path, text: str) -> list[tuple[int, str]]:
    """Write a file and return the line and the word of each finding in it."""
    path.write_text(text, encoding="utf-8")
    return [(finding.line, finding.word) for finding in check(path, WORDS)]


@pytest.mark.parametrize(
    "text",
    [
        'def f():\n    """Greet whoever calls."""\n',
        "x = 1\n# Whoever reads this\n",
        'x = 1\ny = f"{x} for whoever calls"\n',
        'x = 1\ny = f"{x}" f"for whoever calls {x}"\n',
        "x = 1\ndef test_whoever_calls_is_greeted(): ...\n",
        '"""Greet\nwhoever calls.\n"""\n',
    ],
    ids=[
        "docstring",
        "comment",
        "f-string",
        "second f-string",
        "test name",
        "second docstring line",
    ],
)
def test_a_banned_word_in_python_is_reported_with_its_line(tmp_path: Path, text: str) -> None:
    assert [(line, word.lower()) for line, word in findings(tmp_path / "module.py", text)] == [
        (2, "whoever")
    ]


def test_a_banned_word_on_a_page_is_reported_with_its_line(tmp_path: Path) -> None:
    page = "# Title\n\n```sh\nls\n```\n\nWhoever reads this.\n"
    assert findings(tmp_path / "page.md", page) == [(7, "Whoever")]


@pytest.mark.parametrize("name", ["settings.yml", "Dockerfile"])
def test_a_banned_word_in_another_file_is_reported_with_its_line(tmp_path: Path, name: str) -> None:
    assert findings(tmp_path / name, "first\n# whoever\n") == [(2, "whoever")]


@pytest.mark.parametrize(
    "text",
    [
        "whoever = 1\n",
        "def greet(whoever): ...\n",
        '"""Greets `whoever`."""\n',
        'x = f"{whoever} calls"\n',
        '"""Knows the whoevers."""\n',
    ],
    ids=["variable", "parameter", "code span", "expression of an f-string", "part of a word"],
)
def test_an_identifier_in_python_is_not_reported(tmp_path: Path, text: str) -> None:
    assert findings(tmp_path / "module.py", text) == []


@pytest.mark.parametrize("text", ["The option `whoever`.\n", "```sh\nwhoever\n```\n"])
def test_code_on_a_page_is_not_reported(tmp_path: Path, text: str) -> None:
    assert findings(tmp_path / "page.md", text) == []


def test_every_entry_of_the_word_list_is_a_pattern_with_advice() -> None:
    assert all(advice for _, advice in read_words())


def test_the_command_prints_each_finding_and_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("Whoever reads this.\n", encoding="utf-8")
    assert main([str(page)]) == 1
    assert capsys.readouterr().out == f"{page}:1: 'Whoever': write name the noun\n"


def test_the_command_exits_with_0_without_a_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("A clean page.\n", encoding="utf-8")
    assert main([str(page)]) == 0
    assert capsys.readouterr().out == ""
