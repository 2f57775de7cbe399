"""`make audit`: known vulnerabilities of every pinned package, and security lint of the code.

    python -m reliability.audit [--out FOLDER]

The exit code is 1 when a finding is open or a package could not be checked, because an unchecked
package may be vulnerable.
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

# constraints.txt pins every package, so pip-audit need not resolve or install anything.
_PACKAGES = (
    "pip_audit", "--requirement", "constraints.txt", "--no-deps", "--disable-pip",
    "--format", "json", "--progress-spinner", "off",
)  # fmt: skip
_CODE = ("ruff", "check", "--select", "S", "--output-format", "json")


def count_vulnerabilities(packages: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return the numbers of checked packages, unchecked packages and vulnerabilities.

    Args:
        packages: the `dependencies` of pip-audit's report.

    >>> unchecked = {"name": "b", "skip_reason": "yanked"}
    >>> count_vulnerabilities([{"name": "a", "vulns": [{"id": "1"}]}, unchecked])
    {'packages_checked': 1, 'packages_unchecked': 1, 'vulnerabilities': 1}
    """
    checked = [package for package in packages if "skip_reason" not in package]
    return {
        "packages_checked": len(checked),
        "packages_unchecked": len(packages) - len(checked),
        "vulnerabilities": sum(len(package["vulns"]) for package in checked),
    }


def _output_of(*command: str) -> Any:
    """Return the JSON that a module prints; the module exits with 1 where it finds something.

    Raises:
        ValueError: the module printed no JSON.
    """
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    return json.loads(done.stdout)


def violations_of(report: Mapping[str, Any]) -> list[str]:
    """Return the missed goals."""
    found = [f"{report['open_findings']} findings are open"] if report["open_findings"] else []
    if report["packages_unchecked"]:
        found.append(f"{report['packages_unchecked']} packages could not be checked")
    return found


def main() -> int:
    """Run the audit as the command line requests and return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, help="folder for the JSON report")
    arguments = parser.parse_args()
    machine, began = describe_machine(), time.monotonic()
    counts = count_vulnerabilities(_output_of(*_PACKAGES)["dependencies"])
    num_in_code = len(_output_of(*_CODE))
    report = {
        "tool": "audit",
        "seconds": round(time.monotonic() - began),
        **counts,
        "findings_in_code": num_in_code,
        "open_findings": counts["vulnerabilities"] + num_in_code,
        "machine": machine,
    }
    return publish(report, violations_of(report), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
