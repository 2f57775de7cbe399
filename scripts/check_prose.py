"""Reports banned words in docstrings, comments, messages, test names and pages.

    python -m scripts.check_prose [FILE ...]

`scripts/banned_words.toml` lists the words. Without arguments, the command checks every file that
git tracks. Code in backticks and in fenced blocks is not prose. The exit code is 1 when the command
reports a word.
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
# Other files, such as JSON written by commands, hold data.
SUFFIXES = {".py", ".md", ".yml", ".yaml", ".toml", ".html", ".sh", ".cfg", ".example", ""}
# Licenses, and text that commands drew or recorded.
EXEMPT = (
    "LICENSE",
    "clients/javascript/LICENSE",
    "clients/python/LICENSE",
    "app/demo/scenes/",
    "results/",
    "app/pictures/drawing/OFL",
)
TEST_NAME = re.compile(r"\bdef (test_\w+)")
CODE_SPAN = re.compile(r"`[^`]*`")
F_STRING = re.compile(r"[rR]?[fF][rR]?[\"']")
EXPRESSION = re.compile(r"(?<!\{)\{[^{}]*\}")
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
    """Return the pattern and the advice of each entry in the word list."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))
    return [(re.compile(rf"\b(?:{words})\b", re.I), advice) for words, advice in entries.items()]


def prose_of(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """Yield the prose of a file as pairs of a line number and the line's text."""
    if path.suffix == ".py":
        yield from _prose_of_python(text)
    elif path.suffix == ".md":
        yield from _prose_of_markdown(text)
    else:
        yield from enumerate(text.splitlines(), start=1)


def _prose_of_python(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in STRINGS:
            # Before Python 3.12 an f-string is one token that includes its expressions.
            is_f_string = token.type == tokenize.STRING and F_STRING.match(token.string)
            prose = EXPRESSION.sub("", token.string) if is_f_string else token.string
            yield from enumerate(prose.splitlines(), start=token.start[0])
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
    """Return the files with prose that git tracks."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    names = [name for name in listing.stdout.split("\0") if name and not name.startswith(EXEMPT)]
    # These two contain the banned words on purpose.
    own = {WORDS.relative_to(ROOT), Path("tests/scripts/test_check_prose.py")}
    paths = [Path(name) for name in names if Path(name).suffix in SUFFIXES]
    # git also lists a file whose deletion is not committed yet.
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
