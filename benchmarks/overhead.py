"""The cost of serving: the service, its HTTP side alone and its engine alone, on the same bytes.

    python -m benchmarks.overhead [--quick] [--out FOLDER]

"HTTP alone" has an engine that answers at once. For "engine alone", one Python process sends the
requests without HTTP (app/commands/offline.py), and also decodes pictures and writes prompts.
"""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from matplotlib.figure import Figure as Plot

from app.bench.loops import Bounds
from app.bench.workload import LoadRequest
from app.settings import EMBEDDED_CHECKPOINT
from benchmarks.case import Case, Figure, Result, log_progress, main
from benchmarks.contestants import Contestant, running, service, service_with_engine
from benchmarks.loads import put_closed_load
from benchmarks.plots import draw_bars, panels
from benchmarks.workloads import different_pictures

CLIENTS = 32
SERVICE, HTTP_ALONE, ENGINE_ALONE = "the service", "HTTP alone", "engine alone"
OURS = service(SERVICE, picture_cache_bytes=0)
INSTANT = service_with_engine("benchmarks.instant_engine", HTTP_ALONE)


def measure(is_quick: bool) -> Result:
    """Measure all three configurations (see the module)."""
    workload = different_pictures(8 if is_quick else 96)
    num_requests = len(workload) if is_quick else 6 * len(workload)
    configurations: Mapping[str, Callable[[], float]] = {
        SERVICE: lambda: _rate_over_http(OURS, workload, num_requests),
        ENGINE_ALONE: lambda: _rate_offline(len(workload), num_requests),
        HTTP_ALONE: lambda: _rate_over_http(INSTANT, workload, num_requests),
    }
    rates: dict[str, list[float]] = defaultdict(list)
    for repetition in range(1 if is_quick else 3):
        for name, rate in configurations.items():
            log_progress(f"overhead, repetition {repetition + 1}: {name}")
            rates[name].append(rate())
    ratio = median(rates[SERVICE]) / median(rates[ENGINE_ALONE])
    return Result(
        "What serving costs: the service and its parts",
        [
            {
                "what": name,
                "requests/s": median(measured),
                "range": f"{min(measured):.3g}…{max(measured):.3g}",
                "ms a request": 1000 / median(measured),
            }
            for name, measured in rates.items()
        ],
        [Figure("requests/s of the service over its engine alone", ratio, at_least=0.9)],
        [
            f"{num_requests} requests by {CLIENTS} clients; no pictures are cached. Rates count "
            "between the first and the last answer. The engine alone has as many requests at once "
            "as it has slots."
        ],
    )


def steady_rate(times: Sequence[float]) -> float:
    """Return answers per second between the first and the last, without the start-up.

    Args:
        times: of at least two answers, in seconds.

    >>> steady_rate([5.0, 5.5, 6.0])
    2.0
    """
    return (len(times) - 1) / (max(times) - min(times))


def _rate_over_http(
    contestant: Contestant, workload: Sequence[LoadRequest], num_requests: int
) -> float:
    with running(contestant, EMBEDDED_CHECKPOINT) as url:
        samples = put_closed_load(url, workload, CLIENTS, Bounds(num_requests))
    return steady_rate([s.intended_s + s.latency_s for s in samples if s.is_good])


def _rate_offline(num_pictures: int, num_requests: int) -> float:
    """Measure in a separate process, as the service runs in its own."""
    arguments = ["benchmarks.engine_alone", str(num_pictures), str(num_requests)]
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return steady_rate(json.loads(done.stdout))


def plot(result: Result) -> Plot:
    """Plot one bar for each configuration."""
    figure, (axes,) = panels(1)
    series = {str(row["what"]): [float(row["requests/s"] or 0)] for row in result.rows}
    draw_bars(axes, [f"{CLIENTS} clients"], series, "requests/s")
    return figure


CASE = Case("overhead", measure, plot)

if __name__ == "__main__":
    main(CASE)
