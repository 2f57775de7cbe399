"""Reports words that plain English does not need: in docstrings, comments, messages and pages.

    python -m scripts.check_prose [PATH ...]

`scripts/banned_words.toml` lists the words. Without paths, every file that git tracks is checked.
Code in backticks and in fenced blocks is not prose. Exits with 1 when it reports a word.
"""

import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
WORDS = Path(__file__).with_name("banned_words.toml")
# Files with prose of their own; anything else, such as JSON written by commands, is data.
SUFFIXES = {".py", ".md", ".yml", ".yaml", ".toml", ".html", ".sh", ".cfg", ".example", ""}
# The licenses of others, and drawn or recorded text.
EXEMPT = ("LICENSE", "app/demo/scenes/", "results/", "app/pictures/drawing/OFL")
TEST_NAME = re.compile(r"\bdef (test_\w+)")
CODE_SPAN = re.compile(r"`[^`]*`")
STRINGS = {
    tokenize.STRING,
    tokenize.COMMENT,
    getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING),
}


class Finding(NamedTuple):
    """A banned word and its line, counted from 1."""

    path: Path
    line: int
    word: str
    advice: str


def read_words(path: Path = WORDS) -> list[tuple[re.Pattern[str], str]]:
    """Return one pattern and its advice for each entry of the list."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))
    return [(re.compile(rf"\b(?:{words})\b", re.I), advice) for words, advice in entries.items()]


def prose_of(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines of `text` that people read as sentences."""
    if path.suffix == ".py":
        yield from _prose_of_python(text)
    elif path.suffix == ".md":
        yield from _prose_of_markdown(text)
    else:
        yield from enumerate(text.splitlines(), start=1)


def _prose_of_python(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in STRINGS:
            yield from enumerate(token.string.splitlines(), start=token.start[0])
    for number, line in enumerate(text.splitlines(), start=1):
        if name := TEST_NAME.search(line):
            yield number, name[1].replace("_", " ")


def _prose_of_markdown(text: str) -> Iterator[tuple[int, str]]:
    is_code = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        elif not is_code:
            yield number, line


def check(path: Path, words: list[tuple[re.Pattern[str], str]]) -> Iterator[Finding]:
    """Yield the banned words in one file."""
    for number, line in prose_of(path, path.read_text(encoding="utf-8")):
        prose = CODE_SPAN.sub("", line)
        for pattern, advice in words:
            for match in pattern.finditer(prose):
                yield Finding(path, number, match[0], advice)


def tracked_files() -> list[Path]:
    """Return the files in git that have prose."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    names = [name for name in listing.stdout.split("\0") if name and not name.startswith(EXEMPT)]
    own = {WORDS.relative_to(ROOT), Path("tests/scripts/test_check_prose.py")}
    paths = [Path(name) for name in names if Path(name).suffix in SUFFIXES]
    return [ROOT / path for path in paths if path not in own and (ROOT / path).is_file()]


def main(arguments: list[str]) -> int:
    """Print one line for each banned word and return the exit code."""
    words = read_words()
    paths = [Path(argument) for argument in arguments] or tracked_files()
    findings = [finding for path in paths for finding in check(path, words)]
    for path, line, word, advice in findings:
        print(f"{path}:{line}: {word!r}: write {advice}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
