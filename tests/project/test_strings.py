"""No string stands alone by mistake.

A string on a line of its own is a statement without effect, so the end of a message that is wrapped
without parentheses is lost. Docstrings have three quotes.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("app", "benchmarks", "clients", "harness", "reliability", "scripts", "tests", "training")


def lone_strings(source: str) -> Iterator[str]:
    """Yield the strings that are statements, except those with three quotes."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str()) | ast.JoinedStr()):
                segment = ast.get_source_segment(source, node) or ""
                if not segment.lstrip("rR").startswith('"""'):
                    yield segment


def test_a_string_without_an_effect_is_found() -> None:
    source = '"""Docstring."""\nmessage = "the begin"\n"ning"\nf"{message}"\n...\n'
    assert list(lone_strings(source)) == ['"ning"', 'f"{message}"']


def test_every_string_is_used() -> None:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 500
    assert [(path, lone) for path in files for lone in lone_strings(path.read_text())] == []
