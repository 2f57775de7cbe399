"""Publishes the report of a tool: a table for people, a line of JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def publish(report: Mapping[str, Any], violations: Sequence[str], folder: Path | None) -> int:
    """Print a report as a table on standard error and as a line of JSON on standard output.

    Args:
        report: its entry `tool` names the tool.
        violations: the missed goals.
        folder: the report is also written there as `TOOL.json`.

    Returns:
        The exit code: 1 when a goal was missed.
    """
    console, table = Console(stderr=True), Table("", "", show_header=False)
    for name, value in report.items():
        table.add_row(name, str(value))
    console.print(table)
    for violation in violations:
        # Without markup, because rich would remove names in square brackets.
        console.print(f"VIOLATED: {violation}", style="bold red", markup=False)
    line = json.dumps(dict(report) | {"violations": list(violations)})
    print(line)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{report['tool']}.json").write_text(line + "\n")
    return 1 if violations else 0
