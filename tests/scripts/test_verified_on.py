"""The table *Verified on* is what the reports contain."""

import json
from pathlib import Path

import pytest

from scripts.verified_on import README, REPORTS, read_reports, table, with_table

REPORT = {
    "model": "microsoft/kosmos-2-patch14-224",
    "passed": True,
    "machine": {"date": "2026-12-01 10:00 UTC", "cpu": "a processor", "cuda": "a card, driver 1"},
    "runs": [
        {"device": "cuda", "dtype": "bfloat16", "num_equal": 45, "num_answers": 46, "num_ties": 1}
    ],
}


def test_the_readme_has_the_table_of_the_reports() -> None:
    """If this fails, run `make verified-on`."""
    text = README.read_text()
    assert with_table(text, table(read_reports(REPORTS))) == text


def test_without_reports_every_cell_reads_not_yet() -> None:
    lines = table([]).splitlines()
    assert lines[2:] == [
        "| CPU | not yet | not yet | not yet |",
        "| CUDA | not yet | not yet | not yet |",
    ]


def test_a_report_fills_the_cells_of_its_runs(tmp_path: Path) -> None:
    """A failed report, or one of another model, fills none."""
    for name, changes in (("a", {}), ("b", {"passed": False}), ("c", {"model": "other"})):
        (tmp_path / f"{name}.json").write_text(json.dumps(REPORT | changes))
    reports = read_reports(tmp_path)
    assert len(reports) == 1
    cell = "45 of 46 answers, 1 at ties: a card, driver 1, 2026-12-01"
    assert f"| CUDA | not yet | {cell} | not yet |" in table(reports)


def test_a_readme_without_a_place_is_an_error() -> None:
    with pytest.raises(ValueError, match="no place"):
        with_table("# Title\n", "")
