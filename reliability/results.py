"""How every tool here tells what it found: a table for a person, one line of JSON for machines."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def tell(report: Mapping[str, Any], violations: Sequence[str], folder: Path | None) -> int:
    """Print a report as a table on standard error and as a line of JSON on standard output.

    Args:
        report: what was found; its `tool` names it.
        violations: what was not to be.
        folder: where the line is kept as `TOOL.json`; none: nowhere.

    Returns:
        The exit code: 1 when something was violated.
    """
    console, table = Console(stderr=True), Table("", "", show_header=False)
    for name, value in report.items():
        table.add_row(name, str(value))
    console.print(table)
    for violation in violations:
        console.print(f"VIOLATED: {violation}", style="bold red", markup=False)
    line = json.dumps(dict(report) | {"violations": list(violations)})
    print(line)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{report['tool']}.json").write_text(line + "\n")
    return 1 if violations else 0
