"""Writes the table *Verified on* of README.md from the reports in results/published.

python -m scripts.verified_on
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from app.settings import PUBLISHED_MODEL

ROOT = Path(__file__).parents[1]
REPORTS = ROOT / "results" / "published"
README = ROOT / "README.md"
DEVICES = {"cpu": "CPU", "cuda": "CUDA"}
DTYPES = ("float32", "bfloat16", "float16")
_TABLE = re.compile(
    r"(<!-- verified-on: written by `make verified-on` -->\n).*?(<!-- end -->)", re.S
)


def read_reports(directory: Path) -> list[dict[str, Any]]:
    """Return the reports about the published model that passed, in the order of their names."""
    reports = [json.loads(file.read_bytes()) for file in sorted(directory.glob("*.json"))]
    return [r for r in reports if r["passed"] and r["model"] == PUBLISHED_MODEL]


def table(reports: Iterable[dict[str, Any]]) -> str:
    """Return one row per kind of device and one column per dtype; an empty cell reads "not yet"."""
    cells = {
        (run["device"], run["dtype"]): _cell(report["machine"], run)
        for report in reports
        for run in report["runs"]
    }
    lines = [f"| | {' | '.join(DTYPES)} |", "|---|---|---|---|"]
    for device, name in DEVICES.items():
        row = " | ".join(cells.get((device, dtype), "not yet") for dtype in DTYPES)
        lines.append(f"| {name} | {row} |")
    return "\n".join(lines) + "\n"


def with_table(readme: str, new: str) -> str:
    """Return the README with the table replaced.

    Raises:
        ValueError: it has no place for the table.
    """
    if not _TABLE.search(readme):
        raise ValueError("README.md has no place for the table")
    return _TABLE.sub(lambda match: match[1] + new + match[2], readme)


def _cell(machine: dict[str, str], run: dict[str, Any]) -> str:
    equal = f"{run['num_equal']} of {run['num_answers']} answers"
    ties = f", {run['num_ties']} at ties" if run["num_ties"] else ""
    return f"{equal}{ties}: {machine[run['device']]}, {machine['date'][:10]}"


def main() -> None:
    """Rewrite README.md."""
    README.write_text(with_table(README.read_text(), table(read_reports(REPORTS))))


if __name__ == "__main__":
    main()
