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
from benchmarks.case import log_progress, read_arguments, run

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
    try:
        for case in CASES:
            log_progress(f"== {case.name}")
            run(case, is_quick, folder)
    finally:
        write_page(folder)


def write_page(folder: Path) -> None:
    """Write the results of every case in the folder, each with its own machine and date."""
    parts = ["# Results", "Written by `python -m benchmarks`."]
    for name in (*(case.name for case in CASES), "gpu"):
        if (page := folder / f"{name}.md").is_file():
            machine = json.loads((folder / f"{name}.json").read_bytes())["machine"]
            heading, _, rest = page.read_text().partition("\n\n")
            parts += [heading, _origin(machine), rest]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _PAGE).write_text("\n\n".join(parts))


def _origin(machine: Mapping[str, str | int | float]) -> str:
    """Return where and when a case was measured, as a sentence."""
    return (
        "Measured on {date} at commit {commit}, with a load average of {load_average} before it: "
        "{processor}, {cores} cores, {memory_gb} GB, device {device}, {system}, Python {python}, "
        "torch {torch}, transformers {transformers}."
    ).format(**machine)


if __name__ == "__main__":
    main()
