"""`make soak`: steady load at 70 % of capacity, with resource usage over time.

    python -m reliability.soak [--seconds 1800] [--out FOLDER]

The exit code is 1 when memory, descriptors or threads grow by more than the goals allow after the
caches are full, or when a request fails.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from app.bench.client import LoadClient, load_client
from app.bench.loops import Bounds, closed_loop, open_loop, poisson_arrivals, run_load
from app.bench.results import LoadResult, Percentiles, Reply
from app.bench.workload import LoadRequest
from benchmarks.machine import describe_machine
from benchmarks.workloads import different_pictures
from harness.service import RunningService, running_service
from reliability.goals import SETTLED_AFTER_S
from reliability.growth import Growth, Row, growth_of
from reliability.processes import ServiceProcesses
from reliability.results import publish
from reliability.soak_plot import draw_soak

SETTINGS = {"http_workers": 2, "picture_cache_bytes": 16 * 2**20}
"""The cache holds about forty of the hundred pictures, so it fills soon and then evicts."""

_SHARE_OF_CAPACITY = 0.7
_NUM_PICTURES = 100
_NUM_CLIENTS = 32
_PERIOD_S = 5.0
_SEED = 20261


@dataclass
class Meter:
    """Measures the requests of a client and drops their answers, which would fill our own memory.

    Attributes:
        latencies_s: of the requests answered since the last `pop`.
    """

    client: LoadClient
    latencies_s: list[float] = field(default_factory=list)
    num_failed: int = 0

    async def send(self, request: LoadRequest) -> Reply:
        """Send a request and record its latency."""
        began = asyncio.get_running_loop().time()
        reply = await self.client.send(request)
        if reply.code is None:
            self.latencies_s.append(asyncio.get_running_loop().time() - began)
        else:
            self.num_failed += 1
        return replace(reply, answer=None)

    def pop(self) -> tuple[list[float], int]:
        """Return latencies and failures since the last call."""
        counts = self.latencies_s, self.num_failed
        self.latencies_s, self.num_failed = [], 0
        return counts


async def run_soak(
    service: RunningService, seconds: float, file: Path | None
) -> tuple[list[Row], LoadResult]:
    """Measure the capacity, then load the service steadily and sample it every few seconds.

    Args:
        file: each sample is written to it at once, as a line of JSON.
    """
    workload = different_pictures(_NUM_PICTURES)
    async with load_client(service.url) as client:
        meter = Meter(client)
        bounds = Bounds(seconds=min(20.0, seconds / 4))
        found = await closed_loop(meter.send, workload, _NUM_CLIENTS, bounds)
        rate = _SHARE_OF_CAPACITY * LoadResult.of(found).goodput_per_s
        arrivals = poisson_arrivals(rate, _SEED, Bounds(seconds=seconds))
        watching = asyncio.create_task(_watch(service, meter, seconds, file))
        samples = await open_loop(meter.send, workload, arrivals)
        return await watching, LoadResult.of(samples)


async def _watch(
    service: RunningService, meter: Meter, seconds: float, file: Path | None
) -> list[Row]:
    processes = ServiceProcesses(service.process.pid)
    clock, rows = asyncio.get_running_loop().time, list[Row]()
    began = clock()
    # Drops the requests that measured the capacity.
    meter.pop()
    for number in range(1, int(seconds // _PERIOD_S) + 1):
        # From the start, so that the time of a sample neither delays nor omits later ones.
        await asyncio.sleep(began + _PERIOD_S * number - clock())
        latencies_s, num_failed = meter.pop()
        rows.append(
            Row(
                at_s=round(clock() - began, 1),
                processes=processes.usage(),
                num_answered=len(latencies_s),
                num_failed=num_failed,
                latency_s=Percentiles.of(latencies_s),
            )
        )
        if file is not None:
            with file.open("a") as lines:
                lines.write(json.dumps(asdict(rows[-1])) + "\n")
    return rows


def to_report(
    rows: Sequence[Row], result: LoadResult, growth: Growth, seconds: float
) -> dict[str, Any]:
    """Return the figures by name."""
    latency = result.latency_s
    return {
        "tool": "soak",
        "seconds": seconds,
        "requests": result.num_requests,
        "answered": result.num_good,
        "errors": result.errors,
        "requests_per_s": round(result.num_requests / seconds, 2),
        "p50_s": None if latency is None else round(latency.p50, 3),
        "p99_s": None if latency is None else round(latency.p99, 3),
        "looks": len(rows),
        **{name: round(value, 4) for name, value in asdict(growth).items()},
    }


def main() -> int:
    """Run the soak as the command line requests and return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=1800.0, help="duration of the load")
    parser.add_argument("--out", type=Path, help="folder for the JSON reports and the plot")
    arguments = parser.parse_args()
    folder: Path | None = arguments.out
    lines = None if folder is None else folder / "soak.jsonl"
    if lines is not None:
        lines.parent.mkdir(parents=True, exist_ok=True)
        # `_watch` appends.
        lines.unlink(missing_ok=True)
    machine = describe_machine()
    with running_service(**SETTINGS) as service:
        rows, result = run_load(run_soak(service, arguments.seconds, lines))
    # A rehearsal is shorter than the time to settle.
    growth = growth_of(rows, min(SETTLED_AFTER_S, arguments.seconds / 6))
    report = to_report(rows, result, growth, arguments.seconds) | {"machine": machine}
    if folder is not None:
        draw_soak(rows, folder / "soak.png")
    # Random arrivals may fill the queue for a moment, even at 70 % of the capacity.
    failures = {code: n for code, n in result.errors.items() if code != "overloaded"}
    failed = [f"requests failed: {failures}"] if failures else []
    return publish(report, growth.violations + failed, folder)


if __name__ == "__main__":
    sys.exit(main())
