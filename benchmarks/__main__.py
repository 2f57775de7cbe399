"""Runs all cases in sequence and writes the page with their results.

    python -m benchmarks [--quick] [--out FOLDER]

The GPU has its own command, `python -m benchmarks.gpu`; the page includes its last results.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks import (
    batch,
    closed_loop,
    detection_cost,
    detection_quality,
    full_size,
    growth,
    one_picture,
    open_loop,
    overhead,
    quantised,
)
from benchmarks.case import log_progress, read_arguments, run, to_table
from benchmarks.machine import describe_machine

CASES = (
    closed_loop.CASE,
    open_loop.CASE,
    one_picture.CASE,
    overhead.CASE,
    quantised.CASE,
    detection_cost.CASE,
    detection_quality.CASE,
    batch.CASE,
    growth.CASE,
    full_size.CASE,
)
_PAGE = "README.md"


def main() -> None:
    """Run all cases; if one fails, the page has the results of the earlier ones."""
    is_quick, folder = read_arguments()
    machine = describe_machine()
    try:
        for case in CASES:
            log_progress(f"== {case.name}")
            run(case, is_quick, folder)
    finally:
        write_page(folder, machine)


def write_page(folder: Path, machine: Mapping[str, str | int | float]) -> None:
    """Write the machine, then the results of every case in the folder.

    A case that ran on another device has the table of its own machine in front.
    """
    names = [*(case.name for case in CASES), "gpu"]
    folder.mkdir(parents=True, exist_ok=True)
    parts = ["# Results", "Written by `python -m benchmarks`.", _facts(machine)]
    for name in names:
        if not (page := folder / f"{name}.md").is_file():
            continue
        own = json.loads((folder / f"{name}.json").read_bytes())["machine"]
        heading, _, rest = page.read_text().partition("\n\n")
        is_elsewhere = own["device"] != machine["device"]
        parts += [heading, _facts(own), rest] if is_elsewhere else [heading, rest]
    (folder / _PAGE).write_text("\n\n".join(parts))


def _facts(machine: Mapping[str, str | int | float]) -> str:
    return to_table([{"machine": key, "": value} for key, value in machine.items()])


if __name__ == "__main__":
    main()
