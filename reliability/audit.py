"""`make audit`: known flaws of every pinned package, and what lint for security finds in the code.

    python -m reliability.audit [--out FOLDER]

Ends with code 1 when a finding is open, and when nobody could tell of a package: what was not
looked up is not free of flaws.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT, describe_machine
from reliability.results import publish

_PACKAGES = (
    "pip_audit", "--requirement", "constraints.txt", "--no-deps", "--disable-pip",
    "--format", "json", "--progress-spinner", "off",
)  # fmt: skip
_CODE = ("ruff", "check", "--select", "S", "--output-format", "json")


def count_flaws(packages: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many packages were told of, how many were not, and how many flaws those have.

    >>> count_flaws([{"name": "a", "vulns": [{"id": "1"}]}, {"name": "b", "skip_reason": "gone"}])
    {'packages_told_of': 1, 'packages_not_told_of': 1, 'flaws_of_packages': 1}

    Args:
        packages: as pip-audit tells them.
    """
    told = [package for package in packages if "skip_reason" not in package]
    return {
        "packages_told_of": len(told),
        "packages_not_told_of": len(packages) - len(told),
        "flaws_of_packages": sum(len(package["vulns"]) for package in told),
    }


def _output_of(*command: str) -> Any:
    """The JSON that a module prints; it exits with 1 where it finds something.

    Raises:
        ValueError: it printed none.
    """
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    return json.loads(done.stdout)


def violations_of(report: Mapping[str, Any]) -> list[str]:
    """What was not to be."""
    found = [f"{report['open_findings']} findings are open"] if report["open_findings"] else []
    if report["packages_not_told_of"]:
        found.append(f"nobody could tell of {report['packages_not_told_of']} packages")
    return found


def main() -> int:
    """Run as the command line says; the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, help="a folder for the line of JSON")
    arguments = parser.parse_args()
    machine, began = describe_machine(), time.monotonic()
    flaws = count_flaws(_output_of(*_PACKAGES)["dependencies"])
    num_in_code = len(_output_of(*_CODE))
    report = {
        "tool": "audit",
        "seconds": round(time.monotonic() - began),
        **flaws,
        "findings_in_code": num_in_code,
        "open_findings": flaws["flaws_of_packages"] + num_in_code,
        "machine": machine,
    }
    return publish(report, violations_of(report), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
