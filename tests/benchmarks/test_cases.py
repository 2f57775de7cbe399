"""Every case of the benchmarks runs in its quick version and writes its results."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import gpu, growth, one_picture
from benchmarks.__main__ import CASES, write_page
from benchmarks.case import RESULTS, Case, run

QUICK = (one_picture.CASE, growth.CASE)
LARGE = (*(case for case in CASES if case not in QUICK), gpu.CASE)
CHOSEN = [*QUICK, *(pytest.param(case, marks=pytest.mark.large) for case in LARGE)]


@pytest.mark.parametrize("case", CHOSEN, ids=lambda case: case.name)
@pytest.mark.processes
def test_a_case_writes_a_line_of_json_a_table_and_a_plot(case: Case, tmp_path: Path) -> None:
    """The figures of a quick run are meaningless; the test checks only that they exist."""
    result = run(case, is_quick=True, folder=tmp_path)
    assert all(row.get("right", 1.0) == 1.0 for row in result.rows)
    (line,) = (tmp_path / f"{case.name}.json").read_text().splitlines()
    report = json.loads(line)
    assert (report["case"], report["quick"]) == (case.name, True)
    assert report["rows"] == [dict(row) for row in result.rows]
    assert report["machine"]["processor"]
    assert (tmp_path / f"{case.name}.md").read_text().startswith(f"## {result.title}\n")
    assert (tmp_path / f"{case.name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_shows_the_results_and_the_machine_of_every_case(tmp_path: Path) -> None:
    """In the order of the cases, without those that have no results."""
    measured = json.loads((RESULTS / "growth.json").read_text())["machine"]
    for case, device in ((CASES[2], "a card"), (CASES[0], "cpu")):
        machine = measured | {"device": device}
        (tmp_path / f"{case.name}.md").write_text(f"## {case.name}\n\nrows\n")
        (tmp_path / f"{case.name}.json").write_text(json.dumps({"machine": machine}))
    write_page(tmp_path)
    _, _, first, second = re.split(r"^#+ ", (tmp_path / "README.md").read_text(), flags=re.M)
    assert first.startswith(f"{CASES[0].name}\n\nMeasured on ")
    assert "device cpu," in first
    assert second.startswith(f"{CASES[2].name}\n\nMeasured on ")
    assert "device a card," in second


def test_the_committed_page_has_the_committed_results(tmp_path: Path) -> None:
    """Each case is measured at its own time, so the page could show older results."""
    for file in RESULTS.glob("*"):
        if file.suffix in {".md", ".json"} and file.name != "README.md":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    write_page(tmp_path)
    assert (tmp_path / "README.md").read_text() == (RESULTS / "README.md").read_text()
