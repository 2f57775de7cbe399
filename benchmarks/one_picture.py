"""Many questions about one picture: with the service's picture cache, without it, and peers.

    python -m benchmarks.one_picture [--quick] [--out FOLDER]

The peers have no such cache and encode the picture for each question.
"""

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from matplotlib.figure import Figure as Plot

from app.bench.loops import Bounds
from app.bench.results import LoadResult
from app.settings import EMBEDDED_CHECKPOINT
from benchmarks.case import Case, Result, Row, log_progress, main
from benchmarks.contestants import litserve, one_at_a_time, running, service
from benchmarks.loads import put_closed_load
from benchmarks.plots import draw_bars, panels
from benchmarks.workloads import expected_markups, faster_threads, one_picture, share_right

CLIENTS = 8
CACHED, UNCACHED = service(), service("this service, caching no pictures", picture_cache_bytes=0)


def measure(is_quick: bool) -> Result:
    """Measure all servers (see the module)."""
    bounds = Bounds(seconds=1.0 if is_quick else 20.0)
    workload = one_picture(6 if is_quick else 48)
    expected = expected_markups(EMBEDDED_CHECKPOINT, workload)
    threads = 1 if is_quick else faster_threads(EMBEDDED_CHECKPOINT)
    peers = [peer for peer in (one_at_a_time(threads), litserve(threads)) if peer.is_installed]
    chosen = [CACHED] if is_quick else [CACHED, UNCACHED, *peers]
    results: dict[str, list[LoadResult]] = defaultdict(list)
    right: dict[str, list[float]] = defaultdict(list)
    for repetition in range(1 if is_quick else 3):
        # All of them in each repetition: a machine that slows down then affects all.
        for contestant in chosen:
            log_progress(f"one picture, repetition {repetition + 1}: {contestant.name}")
            with running(contestant, EMBEDDED_CHECKPOINT) as url:
                samples = put_closed_load(url, workload, CLIENTS, bounds)
            results[contestant.name].append(LoadResult.of(samples))
            right[contestant.name].append(share_right(samples, expected))
    return Result(
        "Many questions about one picture, on the embedded checkpoint",
        [_row(name, each, min(right[name])) for name, each in results.items()],
        [],
        [f"{CLIENTS} waiting clients; medians of {len(results[CACHED.name])} repetitions."],
    )


def _row(name: str, results: Sequence[LoadResult], right: float) -> Row:
    latencies = [result.latency_s for result in results if result.latency_s is not None]
    return {
        "server": name,
        "requests/s": median(result.goodput_per_s for result in results),
        "p50 s": median(latency.p50 for latency in latencies) if latencies else None,
        "cached prompt tokens": median(result.cached_share for result in results),
        "right": right,
    }


def plot(result: Result) -> Plot:
    """Plot the throughput, with one bar for each server."""
    figure, (axes,) = panels(1)
    series = {str(row["server"]): [float(row["requests/s"] or 0)] for row in result.rows}
    draw_bars(axes, [f"{CLIENTS} clients"], series, "requests/s")
    return figure


CASE = Case("one_picture", measure, plot)

if __name__ == "__main__":
    main(CASE)
