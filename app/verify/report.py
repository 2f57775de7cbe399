"""Writes the results of `kosmos2 verify` as one JSON file and one page of HTML."""

import html
import json
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from app.checkpoint.files import Checkpoint
from app.verify.checks import Check, as_json, summary_of
from app.verify.recording import sha256_of

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin-bottom: 2rem }
td, th { border-bottom: 1px solid #ddd; padding: .3rem .6rem; text-align: left }
.ok { color: #176b2c } .differs { color: #b00020; font-weight: 600 } .not { color: #8a5a00 }
""".strip()


@dataclass
class Report:
    """Everything that one run of `kosmos2 verify` found.

    Attributes:
        machine: facts about this machine and its software, by name.
        runs: one entry per device and dtype.
    """

    model: str
    revision: str | None
    recording: str
    machine: dict[str, str]
    checksums: dict[str, str]
    checks: list[Check] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def has_passed(self) -> bool:
        """Whether answers were compared and no check found a difference."""
        return bool(self.runs) and all(check.outcome != "differs" for check in self.checks)

    @property
    def verdict(self) -> str:
        """One line: passed or failed, and the number of checks per outcome."""
        counts = summary_of(self.checks).items()
        summary = ", ".join(f"{number} {outcome}" for outcome, number in counts)
        return f"{'passed' if self.has_passed else 'failed'}: {summary}"

    def as_json(self) -> dict[str, Any]:
        """Return the content of the JSON file."""
        return {
            "model": self.model,
            "revision": self.revision,
            "recording": self.recording,
            "passed": self.has_passed,
            "summary": summary_of(self.checks),
            "machine": self.machine,
            "checksums": self.checksums,
            "runs": self.runs,
            "checks": [as_json(check) for check in self.checks],
        }

    def write(self, folder: Path) -> None:
        """Write `report.json` and `report.html` into a folder that exists."""
        text = json.dumps(self.as_json(), indent=1, ensure_ascii=False)
        (folder / "report.json").write_text(text + "\n", encoding="utf-8")
        (folder / "report.html").write_text(_page(self), encoding="utf-8")


def describe_machine(versions: dict[str, str], devices: Sequence[dict[str, str]]) -> dict[str, str]:
    """Return facts about the machine: date, commit, versions, devices and drivers."""
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "kosmos2-server": version("kosmos2-server"),
        "commit": _commit(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **versions,
    }
    for device in devices:
        driver = f", driver {device['driver']}" if device["driver"] else ""
        facts[device["device"]] = f"{device['name']}{driver}"
    return facts


def checksums_of(checkpoint: Checkpoint) -> dict[str, str]:
    """Return the SHA-256 of every file that the service reads."""
    files = sorted(checkpoint.directory.glob("*.json"))
    files += sorted({tensor.file for tensor in checkpoint.tensors.values()})
    return {file.name: sha256_of(file) for file in files}


def _commit() -> str:
    """Return the commit of this project's clone, or `unknown` for an installed package."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return "unknown"
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    done = subprocess.run(  # noqa: S603 - fixed arguments
        command, cwd=root, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def _page(report: Report) -> str:
    verdict = "passed" if report.has_passed else "failed"
    title = f"kosmos2 verify: {html.escape(report.model)}: {verdict}"
    facts = {"model": report.model, "revision": report.revision or "none (not from the hub)"}
    facts |= {"compared with": report.recording} | report.machine
    sections = [
        _table("Checks", ("outcome", "check", "detail"), [_check_row(c) for c in report.checks]),
        _table("Machine", ("fact", "value"), list(facts.items())),
        _table("SHA-256", ("file", "checksum"), list(report.checksums.items())),
    ]
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    body = f"<h1>{title}</h1>{''.join(sections)}"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _check_row(check: Check) -> tuple[str, str, str]:
    return check.outcome, check.name, check.detail


def _table(title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in names)
    lines = "".join(f"<tr>{''.join(_cell(text) for text in row)}</tr>" for row in rows)
    return f"<h2>{title}</h2><table><tr>{head}</tr>{lines}</table>"


def _cell(text: str) -> str:
    kind = text.partition(" ")[0] if text in {"ok", "differs", "not checked"} else ""
    return (
        f'<td class="{kind}">{html.escape(text)}</td>' if kind else f"<td>{html.escape(text)}</td>"
    )
