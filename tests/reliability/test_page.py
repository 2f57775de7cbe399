"""docs/reliability.md shows the measured results and nothing else."""

import json
from pathlib import Path

from benchmarks.machine import ROOT
from reliability.page import LINES, NOT_RUN, RESULTS, render

AUDIT = {"open_findings": 7, "packages_checked": 3, "packages_unchecked": 1}


def test_the_page_equals_the_rendered_results() -> None:
    """A figure written by hand would outlive its run."""
    assert (ROOT / "docs" / "reliability.md").read_text() == render(RESULTS)


def test_without_a_run_the_page_has_no_figure(tmp_path: Path) -> None:
    """Missing results are shown as not run."""
    assert render(tmp_path).count(f"| {NOT_RUN} |") == len(LINES)


def test_a_result_fills_its_rows(tmp_path: Path) -> None:
    """Other rows stay empty."""
    (tmp_path / "audit.json").write_text(json.dumps(AUDIT))
    page = render(tmp_path)
    assert "| open audit findings | 0 | 7 |" in page
    assert "| pinned packages checked for known vulnerabilities | all | 3 of 4 |" in page
    assert page.count(f"| {NOT_RUN} |") == len(LINES) - 2
