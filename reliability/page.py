"""Writes docs/reliability.md from the results that the commands named in it have left.

    python -m reliability.page

A row whose command has not been run says so; nothing here knows a figure.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT
from reliability.goals import (
    LEAST_BAD_INPUTS,
    LEAST_GOODPUT,
    LEAST_OVER_HTTP,
    MAX_MEMORY_CHANGE,
    MAX_NEW_DESCRIPTORS,
    SETTLED_AFTER_S,
)
from reliability.overload import FACTORS

PAGE = ROOT / "docs" / "reliability.md"
RESULTS = ROOT / "results" / "reliability"
COMMANDS = {
    "chaos": "make chaos",
    "overload": "make overload",
    "soak": "make soak",
    "fuzz": "make fuzz",
    "keys": "make keys",
    "audit": "make audit",
}
"""What leaves the result of each tool."""

NOT_RUN = "not run yet"
Report = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """A row of the table.

    Attributes:
        goal: what it has to be; blank: it is only told.
        tool: whose result has it, as `TOOL.json`.
        read: takes it from there.
    """

    what: str
    goal: str
    tool: str
    read: Callable[[Report], object]


def field(*names: str) -> Callable[[Report], object]:
    """Takes one field of a report, or of a part of it.

    >>> field("3x", "p99_s")({"3x": {"p99_s": 1.5}})
    1.5
    """

    def read(report: Report) -> object:
        value: Any = report
        for name in names:
            value = value[name]
        return value

    return read


def _sum_of(name: str) -> Callable[[Report], object]:
    return lambda report: sum(report[name].values())


def _share(name: str) -> Callable[[Report], object]:
    return lambda report: f"{report[name]:.1%}"


def _offer(factor: int) -> Line:
    def read(report: Report) -> object:
        offer = report[f"{factor}x"]
        return (
            f"{offer['goodput_per_s']:g} requests/s, p99 {offer['p99_s']:g} s, "
            f"{offer['refused_share']:.0%} refused"
        )

    return Line(f"goodput and p99 of accepted requests at {factor}× capacity", "", "overload", read)


def _kept(report: Report) -> object:
    return f"{report['3x']['goodput_per_s'] / report['1x']['goodput_per_s']:.0%}"


def _slowest(report: Report) -> object:
    offers = (report[f"{factor}x"] for factor in FACTORS)
    p99_s = max(offer["p99_s"] for offer in offers)
    return f"{p99_s:g} s, the queue explains {report['latency_bound_s']:g} s"


def _megabytes(report: Report) -> object:
    return f"{report['resident_bytes'] / 1e6:.0f} MB"


def _packages(report: Report) -> object:
    told, untold = report["packages_told_of"], report["packages_not_told_of"]
    return f"{told} of {told + untold}"


def _wrong(report: Report) -> object:
    return report["refused_wrongly"] + report["broken"]


_SETTLED_MINUTE = round(SETTLED_AFTER_S / 60)
LINES = (
    Line("faults injected", "", "chaos", _sum_of("faults")),
    Line("requests sent", "", "chaos", field("sent")),
    Line("requests accepted", "", "chaos", field("accepted")),
    Line("completed, each as when undisturbed", "", "chaos", field("completed")),
    Line("refused, with the code that is documented for it", "", "chaos", _sum_of("refused")),
    Line("left by their clients", "", "chaos", _sum_of("left")),
    Line(
        "cut off because their own HTTP process was killed",
        "",
        "chaos",
        field("lost_with_their_process"),
    ),
    Line("replayed on a new engine", "", "chaos", field("requests_replayed")),
    Line("lost", "0", "chaos", field("lost")),
    Line("answered twice", "0", "chaos", field("answered_twice")),
    Line("hung", "0", "chaos", field("hung")),
    Line("answered otherwise than undisturbed", "0", "chaos", field("answered_differently")),
    Line("refused with any other code, or broken", "0", "chaos", _wrong),
    Line("slots, permits or places held when all was over", "0", "chaos", _sum_of("leftovers")),
    Line("engines killed", "", "chaos", field("faults", "kill_engine")),
    Line(
        "worst time from a kill of the engine to the first token of a new request, s",
        "",
        "chaos",
        field("worst_recovery_s"),
    ),
    Line("capacity, requests/s", "", "overload", field("capacity_per_s")),
    *(_offer(factor) for factor in FACTORS),
    Line("goodput at 3× over that at 1×", f"≥ {100 * LEAST_GOODPUT:.0f} %", "overload", _kept),
    Line("highest p99 of accepted requests", "as the queue explains", "overload", _slowest),
    Line("requests of the soak", "", "soak", field("requests")),
    Line(
        f"resident memory in minute {_SETTLED_MINUTE + 1}, of all processes", "", "soak", _megabytes
    ),
    Line(
        f"change of resident memory from minute {_SETTLED_MINUTE} on",
        f"≤ {100 * MAX_MEMORY_CHANGE:.0f} %",
        "soak",
        _share("memory_change"),
    ),
    Line(
        "descriptors more at the end", f"≤ {MAX_NEW_DESCRIPTORS}", "soak", field("new_descriptors")
    ),
    Line("bad inputs tried", f"≥ {LEAST_BAD_INPUTS:,}", "fuzz", field("bad_inputs")),
    Line("of these over HTTP", f"≥ {LEAST_OVER_HTTP:,}", "fuzz", field("over_http")),
    Line("5xx among them", "0", "fuzz", field("server_errors")),
    Line("processes that they ended", "0", "fuzz", field("processes_ended")),
    Line("requests without a key tried", "", "keys", field("tried")),
    Line("clients that got in without a key", "0", "keys", field("intruders")),
    Line("pinned packages whose flaws could be looked up", "all", "audit", _packages),
    Line("audit findings that are open", "0", "audit", field("open_findings")),
)


_HEAD = """# Reliability

Written by `make reliability`, which runs the named commands, from the results that they left. They
start the service themselves, with the embedded checkpoint, put their load on it over the loopback
from the same machine, and end with code 1 when a goal is missed.

| what | goal | measured | by |
|---|---|---|---|
"""

_TAIL = """
## What the commands do

**`make chaos`** first asks every question of its load alone and keeps the answers. Then, for ten
minutes, requests of all tasks arrive at random, as many in a second as one client gets that waits:
forms and JSON, whole and streamed, greedy and sampled; some are bad, some clients leave while they
send, wait or read. Meanwhile three things go on side by side, a random fault every few seconds
each: the engine is killed, stopped for a while, or stopped until the watchdog kills it; an HTTP
process is killed or stopped, a picture process killed; clients send garbage, half requests, slow
bodies, bodies over the limit, or half as many again at once as there are places. At the end every
request has one fate. It is *completed* only if its answer equals the one from before, token for
token, replayed or not. A broken connection is *lost* unless it was a connection of an HTTP process
at the moment when that one was killed; which these are is read from the system. *Accepted* are the
requests that were sent whole and not refused. Engines are killed when they are ready;
`tests/faults` has those that die while they load.

**`make overload`** finds the capacity with twice as many clients as slots, each waiting for its
answer. Then requests arrive at random, once, twice and three times as many as that, and wait for
nobody. Latencies count from the arrival. The queue explains a latency of all places over the
capacity, plus that of the slowest of a hundred at capacity.

**`make soak`** loads the service for half an hour at 70 % of its capacity with more pictures than
its cache holds. Memory is what is resident of all processes together, without pages of files where
the system tells them apart, since those belong to all who have them open; the mean of each minute
is compared with that of the sixth. Descriptors are counted without the connections that clients
keep open. `soak.jsonl` has every look.

**`make fuzz`** damages a picture of every format in a thousand ways, the same ones each time, and
has them decoded; a tenth as many are sent to a running service, and so are requests of every kind,
damaged anywhere or in their bodies alone.

**`make keys`** tries every path in many spellings by every method with headers that nearly are a
key. **`make audit`** asks PyPI for known flaws of every pinned package, and lints the code for
security (ruff's `S` rules); a package that nobody could tell of counts as wrong, not as free of
flaws.
"""

_PLOT = "\n![Memory, descriptors, threads and latency](../results/reliability/soak.png)\n"


def render(folder: Path) -> str:
    """The whole page.

    Args:
        folder: where the results are.
    """
    reports = {line.tool: _read(folder, line.tool) for line in LINES}
    rows = [_row(line, reports[line.tool]) for line in LINES]
    runs = [_run(tool, report) for tool, report in reports.items() if report is not None]
    parts = [_HEAD, *rows, "\n" if runs else "", *runs, _TAIL]
    return "".join([*parts, _PLOT if reports["soak"] is not None else ""])


def _read(folder: Path, tool: str) -> Report | None:
    file = folder / f"{tool}.json"
    if not file.is_file():
        return None
    report: Report = json.loads(file.read_text())
    return report


def _row(line: Line, report: Report | None) -> str:
    measured = NOT_RUN if report is None else _shown(line.read(report))
    return f"| {line.what} | {line.goal} | {measured} | `{COMMANDS[line.tool]}` |\n"


def _shown(value: object) -> str:
    is_count = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return f"{value:,.0f}" if is_count else str(value)


def _run(tool: str, report: Report) -> str:
    """One line on when, where and how long."""
    machine = report.get("machine")
    if machine is None:
        return ""
    missed = "; ".join(report["violations"]) or "no goal missed"
    return (
        f"- `{COMMANDS[tool]}`: {machine['date']}, commit {machine['commit']}, "
        f"{report['seconds']:g} s, {machine['cores']} × {machine['processor']}, "
        f"load average before {machine['load_average']:g}: {missed}\n"
    )


def main() -> None:
    """Write the page."""
    PAGE.write_text(render(RESULTS))


if __name__ == "__main__":
    main()
