"""Writes docs/reliability.md from the results of the commands named in it.

    python -m reliability.page

A row without a result shows that its command has not run. This module contains no figures.
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
    "overload_doors": "make overload",
    "soak": "make soak",
    "fuzz": "make fuzz",
    "keys": "make keys",
    "audit": "make audit",
}
"""The command that writes the result of each tool."""

NOT_RUN = "not run yet"
Report = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """A row of the table.

    Attributes:
        goal: the required value; blank if there is no goal.
        tool: the name of the result file, without `.json`.
        read: extracts the value from that result.
    """

    what: str
    goal: str
    tool: str
    read: Callable[[Report], object]


def field(*names: str) -> Callable[[Report], object]:
    """Return a function that extracts one field of a report, or of a part of it.

    >>> field("3x", "p99_s")({"3x": {"p99_s": 1.5}})
    1.5
    """

    def read(report: Report) -> object:
        value: Any = report
        for name in names:
            value = value[name]
        return value

    return read


def _total(name: str) -> Callable[[Report], object]:
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


def _goodput_ratio(report: Report) -> object:
    return f"{report['3x']['goodput_per_s'] / report['1x']['goodput_per_s']:.0%}"


def _worst_p99(report: Report) -> object:
    offers = (report[f"{factor}x"] for factor in FACTORS)
    p99_s = max(offer["p99_s"] for offer in offers)
    return f"{p99_s:g} s, the queue explains {report['latency_bound_s']:g} s"


def _megabytes(report: Report) -> object:
    return f"{report['resident_bytes'] / 1e6:.0f} MB"


def _packages(report: Report) -> object:
    checked, unchecked = report["packages_checked"], report["packages_unchecked"]
    return f"{checked} of {checked + unchecked}"


def _num_wrong(report: Report) -> object:
    return report["refused_wrongly"] + report["broken"]


_SETTLED_MINUTE = round(SETTLED_AFTER_S / 60)
LINES = (
    Line("faults injected", "", "chaos", _total("faults")),
    Line("requests sent", "", "chaos", field("sent")),
    Line("requests accepted", "", "chaos", field("accepted")),
    Line("completed with the same answer as without faults", "", "chaos", field("completed")),
    Line("refused with a documented error code", "", "chaos", _total("refused")),
    Line("abandoned by their clients", "", "chaos", _total("left")),
    Line(
        "connections broken because their own HTTP process was killed",
        "",
        "chaos",
        field("lost_with_their_process"),
    ),
    Line("replayed on a new engine", "", "chaos", field("requests_replayed")),
    Line("lost", "0", "chaos", field("lost")),
    Line("answered twice", "0", "chaos", field("answered_twice")),
    Line("hung", "0", "chaos", field("hung")),
    Line("answer changed by a fault", "0", "chaos", field("answered_differently")),
    Line("refused with another code, or invalid answer", "0", "chaos", _num_wrong),
    Line("slots, permits or requests held after the run", "0", "chaos", _total("leftovers")),
    Line("engines killed", "", "chaos", field("faults", "kill_engine")),
    Line(
        "longest time from the kill of an engine to the first token of a new request, s",
        "",
        "chaos",
        field("worst_recovery_s"),
    ),
    Line("capacity, requests/s", "", "overload", field("capacity_per_s")),
    *(_offer(factor) for factor in FACTORS),
    Line(
        "goodput at 3× relative to 1×", f"≥ {100 * LEAST_GOODPUT:.0f} %", "overload", _goodput_ratio
    ),
    Line("highest p99 of accepted requests", "the wait in the queue", "overload", _worst_p99),
    Line(
        "goodput at 3× relative to 1×, requests to all doors in turn",
        f"≥ {100 * LEAST_GOODPUT:.0f} %",
        "overload_doors",
        _goodput_ratio,
    ),
    Line(
        "highest p99 of accepted requests to all doors",
        "the wait in the queue",
        "overload_doors",
        _worst_p99,
    ),
    Line("requests during the soak", "", "soak", field("requests")),
    Line(
        f"resident memory in minute {_SETTLED_MINUTE + 1}, of all processes", "", "soak", _megabytes
    ),
    Line(
        f"change of resident memory from minute {_SETTLED_MINUTE} on",
        f"≤ {100 * MAX_MEMORY_CHANGE:.0f} %",
        "soak",
        _share("memory_change"),
    ),
    Line("file descriptors leaked", f"≤ {MAX_NEW_DESCRIPTORS}", "soak", field("new_descriptors")),
    Line("damaged inputs", f"≥ {LEAST_BAD_INPUTS:,}", "fuzz", field("bad_inputs")),
    Line("of these over HTTP", f"≥ {LEAST_OVER_HTTP:,}", "fuzz", field("over_http")),
    Line("5xx answers to them", "0", "fuzz", field("server_errors")),
    Line("processes that crashed on them", "0", "fuzz", field("processes_ended")),
    Line("requests sent without a valid key", "", "keys", field("tried")),
    Line("requests accepted without a valid key", "0", "keys", field("intruders")),
    Line("pinned packages checked for known vulnerabilities", "all", "audit", _packages),
    Line("open audit findings", "0", "audit", field("open_findings")),
)


_HEAD = """# Reliability

`make reliability` runs the commands below and writes this page from their results. Each command
starts the service with the embedded checkpoint, sends its load over the loopback of the same
machine, and exits with 1 when a goal is missed.

| what | goal | measured | by |
|---|---|---|---|
"""

_TAIL = """
## What the commands do

**`make chaos`** first sends every question of its load alone and records the answers. Then, for ten
minutes, requests of all tasks arrive at random, at the rate that one sequential client reaches:
forms and JSON, whole and streamed, greedy and sampled. Some requests are invalid, and some clients
disconnect while they send, wait or read. In parallel, three tracks inject a random fault every few
seconds each. The first kills the engine, stops it for a while, or stops it until the watchdog kills
it. The second kills or stops an HTTP process or kills a picture process. The third sends garbage,
half requests, slow bodies, bodies over the limit, or one and a half times as many requests at once
as the service accepts. At the end every request has exactly one fate. It is *completed* only if its
answer equals the recorded one, token for token, replayed or not. A broken connection counts as
*lost* unless the HTTP process that it belonged to was killed at that moment; the list of such
connections is read from the operating system. *Accepted* are the requests that were sent completely
and not refused. Chaos kills engines that are ready; `tests/faults` covers those that die while they
load.

**`make overload`** measures the capacity with twice as many clients as slots, each waiting for its
answer. Then requests arrive at random at one, two and three times that rate, without waiting for
answers. Latencies count from the arrival. The latency that the queue explains is the number of
accepted requests divided by the capacity, plus the p99 at capacity. A second run sends the requests
to all doors in turn, those of other projects' clients included.

**`make soak`** loads the service for half an hour at 70 % of its capacity, with more pictures than
its cache holds. The memory is the resident memory of all processes together. Where the system
reports them separately, pages of files are excluded, because all processes share them. The mean of
each minute is compared with the mean of the sixth. Descriptors exclude the connections that clients
keep open. `soak.jsonl` has every sample.

**`make fuzz`** damages pictures of every format, each in 500 ways that are the same in every run,
and decodes them. It sends a tenth as many to a running service, and also requests of every kind,
damaged anywhere or only in their bodies.

**`make keys`** tries every path in many spellings, with every method and with headers that resemble
a valid key. **`make audit`** looks up the known vulnerabilities of every pinned package at PyPI and
lints the code for security (ruff's `S` rules). A package that could not be checked counts as a
failure.
"""

_PLOT = "\n![Memory, descriptors, threads and latency](../results/reliability/soak.png)\n"


def render(folder: Path) -> str:
    """Return the whole page, built from the results in `folder`."""
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
    measured = NOT_RUN if report is None else _format_value(line.read(report))
    return f"| {line.what} | {line.goal} | {measured} | `{COMMANDS[line.tool]}` |\n"


def _format_value(value: object) -> str:
    is_count = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return f"{value:,.0f}" if is_count else str(value)


def _run(tool: str, report: Report) -> str:
    """Return a line with the date, the machine and the duration of a run."""
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
    """Write docs/reliability.md."""
    PAGE.write_text(render(RESULTS))


if __name__ == "__main__":
    main()
