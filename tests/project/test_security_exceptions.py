"""SECURITY.md promises that each exception from ruff's security rules has its reason."""

import re
from pathlib import Path

APP = Path(__file__).parents[2] / "app"
EXCEPTION = re.compile(r"# noqa: S\d+(.*)")


def test_every_exception_has_its_reason_next_to_it() -> None:
    files = sorted(APP.rglob("*.py"))
    rests = {file: EXCEPTION.findall(file.read_text()) for file in files}
    assert sum(map(len, rests.values())) >= 5
    assert [file for file, found in rests.items() if not all(" - " in rest for rest in found)] == []
