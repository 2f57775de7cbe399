"""A case of the benchmarks: its measurement, and the table, plot and line of JSON that it writes.

Each case is a module with a constant `CASE`. `python -m benchmarks.MODULE [--quick] [--out FOLDER]`
runs one case, `python -m benchmarks` runs them all.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from matplotlib.figure import Figure as Plot

from benchmarks.machine import ROOT, describe_machine

RESULTS = ROOT / "results" / "benchmarks"
QUICK_RESULTS = ROOT / "build" / "benchmarks"

Row = Mapping[str, str | float | int | None]


@dataclass(frozen=True)
class Figure:
    """A measured value that has a goal.

    Attributes:
        name: with the unit, or "x" for a ratio.
        at_least: the goal, if it is a lower limit.
        at_most: the goal, if it is an upper limit.
    """

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether the value reaches its goal; true without a goal."""
        is_high = self.at_least is None or self.value >= self.at_least
        return is_high and (self.at_most is None or self.value <= self.at_most)

    @property
    def goal(self) -> str:
        """The goal as text; blank without a goal."""
        low = "" if self.at_least is None else f"≥ {self.at_least:g}"
        return low if self.at_most is None else f"≤ {self.at_most:g}"


@dataclass(frozen=True)
class Result:
    """The measurements of a case.

    Attributes:
        rows: the table; all rows have the same columns.
        figures: the values that have goals.
        notes: explanations for readers, one line each.
    """

    title: str
    rows: Sequence[Row]
    figures: Sequence[Figure]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Case:
    """A measurement and its presentation.

    Attributes:
        name: of the module and the files.
        measure: runs the measurement; with true, a quick run whose results are meaningless.
    """

    name: str
    measure: Callable[[bool], Result]
    plot: Callable[[Result], Plot]


def run(case: Case, is_quick: bool, folder: Path) -> Result:
    """Measure a case and write NAME.json, NAME.md and NAME.png to a folder."""
    machine = describe_machine()  # before the case loads the machine
    result = case.measure(is_quick)
    line = {"case": case.name, "quick": is_quick, "machine": machine} | asdict(result)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{case.name}.json").write_text(json.dumps(line, ensure_ascii=False) + "\n")
    (folder / f"{case.name}.md").write_text(to_markdown(case.name, result))
    case.plot(result).savefig(folder / f"{case.name}.png", dpi=120, bbox_inches="tight")
    return result


def main(case: Case) -> None:
    """Run one case as the command line requests."""
    is_quick, folder = read_arguments()
    result = run(case, is_quick, folder)
    print(to_markdown(case.name, result))


def read_arguments() -> tuple[bool, Path]:
    """Return whether to run quickly, and the folder; quick results never mix with real ones."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a meaningless run of seconds")
    parser.add_argument("--out", type=Path, help="folder for the results")
    arguments = parser.parse_args()
    # The results of real runs are committed; those of quick runs are not.
    default = QUICK_RESULTS if arguments.quick else RESULTS
    return arguments.quick, arguments.out or default


def log_progress(text: str) -> None:
    """Print progress to standard error."""
    print(text, file=sys.stderr, flush=True)


def to_markdown(name: str, result: Result) -> str:
    """Return the heading, the notes, the tables and the plot of a result."""
    goals = [
        {"figure": f.name, "measured": f.value, "goal": f.goal, "met": "yes" if f.is_met else "no"}
        for f in result.figures
    ]
    parts = [f"## {result.title}", *result.notes, to_table(result.rows)]
    parts += [to_table(goals)] if goals else []
    return "\n\n".join([*parts, f"![{result.title}]({name}.png)"]) + "\n"


def to_table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table.

    >>> print(to_table([{"clients": 8, "requests/s": 12.345}]))
    | clients | requests/s |
    |---|---|
    | 8 | 12.3 |
    """
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns)]
    lines += [[_cell(row[column]) for column in columns] for row in rows]
    head, rule, *body = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([head, rule.replace(" ", ""), *body])


def _cell(value: str | float | int | None) -> str:
    if value is None:
        return ""
    # Three digits; from 1000 on, `.3g` would write an exponent.
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else _whole(value)


def _whole(value: str | float | int) -> str:
    return f"{value:.0f}" if isinstance(value, float) else str(value)
