"""This service and its peers with 1, 8 and 32 waiting clients: mixed tasks, checked answers.

    python -m benchmarks.closed_loop [--quick] [--out FOLDER]

Every repetition restarts each contestant and sends the same requests to all of them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median

from matplotlib.figure import Figure as Plot

from app.bench.loops import Bounds
from app.bench.results import LoadResult, Percentiles, Sample
from app.bench.workload import LoadRequest
from app.settings import EMBEDDED_CHECKPOINT
from benchmarks.case import Case, Figure, Result, Row, log_progress, main
from benchmarks.contestants import (
    Contestant,
    litserve,
    one_at_a_time,
    ray_serve,
    running,
    service,
)
from benchmarks.loads import put_closed_load
from benchmarks.plots import draw_bars, panels
from benchmarks.workloads import (
    different_pictures,
    expected_markups,
    faster_threads,
    share_right,
)

# The workload repeats, and no peer caches pictures, so the service must not cache them either.
OURS = service(picture_cache_bytes=0)

Runs = Mapping[tuple[str, int], Sequence[LoadResult]]
"""The results of all repetitions, by contestant and number of clients."""


def measure(is_quick: bool) -> Result:
    """Run the closed loop for all contestants (see the module)."""
    clients = (1, 2) if is_quick else (1, 8, 32)
    bounds = Bounds(seconds=1.0 if is_quick else 25.0)
    workload = different_pictures(6 if is_quick else 96)
    expected = expected_markups(EMBEDDED_CHECKPOINT, workload)
    # Each peer gets the number of threads with which it is faster on this machine.
    threads = 1 if is_quick else faster_threads(EMBEDDED_CHECKPOINT)
    peers = [one_at_a_time(threads)]
    peers += (
        [] if is_quick else [p for p in (litserve(threads), ray_serve(threads)) if p.is_installed]
    )
    chosen = [OURS, *peers]
    runs: dict[tuple[str, int], list[LoadResult]] = defaultdict(list)
    right: dict[str, list[float]] = defaultdict(list)
    for repetition in range(1 if is_quick else 3):
        # All of them in each repetition: a machine that slows down then affects all.
        for contestant in chosen:
            log_progress(f"closed loop, repetition {repetition + 1}: {contestant.name}")
            for number, samples in _run(contestant, workload, clients, bounds).items():
                runs[contestant.name, number].append(LoadResult.of(samples))
                right[contestant.name].append(share_right(samples, expected))
    rows = [
        _row(name, number, results, min(right[name])) for (name, number), results in runs.items()
    ]
    return Result(
        "Closed loop: mixed tasks on the embedded checkpoint",
        rows,
        _figures(runs, [peer.name for peer in peers], clients[-1]),
        [
            f"{len(workload)} requests in rotation, about as many pictures; medians of "
            f"{len(runs[OURS.name, 1])} repetitions, with the range; `right` is the lowest "
            "share of answers equal to `generate` on the request alone. No server caches pictures. "
            f"Threads of torch in each peer: {threads}."
        ],
    )


def _run(
    contestant: Contestant, workload: Sequence[LoadRequest], clients: Sequence[int], bounds: Bounds
) -> dict[int, list[Sample]]:
    with running(contestant, EMBEDDED_CHECKPOINT) as url:
        return {n: put_closed_load(url, workload, n, bounds) for n in clients}


def _row(name: str, clients: int, results: Sequence[LoadResult], right: float) -> Row:
    rates = [result.goodput_per_s for result in results]
    latencies = [result.latency_s for result in results if result.latency_s is not None]
    return {
        "server": name,
        "clients": clients,
        "requests/s": median(rates),
        "range": f"{min(rates):.3g}…{max(rates):.3g}",
        "tokens/s": median(result.tokens_per_s for result in results),
        **{f"{p} s": _percentile(latencies, p) for p in ("p50", "p95", "p99")},
        "errors": sum(result.num_requests - result.num_good for result in results),
        "right": right,
    }


def _percentile(latencies: Sequence[Percentiles], name: str) -> float | None:
    return median(float(getattr(each, name)) for each in latencies) if latencies else None


def _figures(runs: Runs, peers: Sequence[str], most: int) -> list[Figure]:
    def rate(name: str) -> float:
        return median(result.goodput_per_s for result in runs[name, most])

    def latency(name: str) -> float:
        alone = [r.latency_s for r in runs[name, 1] if r.latency_s is not None]
        return _percentile(alone, "p50") or float("nan")

    ours, one = rate(OURS.name), rate(peers[0])
    best = max(rate(name) for name in peers)
    latency_ratio = latency(OURS.name) / latency(peers[0])
    return [
        Figure(f"requests/s at {most} over the best peer's", ours / best, at_least=3),
        Figure(f"requests/s at {most} over one at a time's", ours / one, at_least=8),
        Figure("latency at 1 over one at a time's", latency_ratio, at_most=0.7),
    ]


def plot(result: Result) -> Plot:
    """Plot throughput and latency, with a group of bars for each number of clients."""
    figure, (rates, latencies) = panels(2)
    clients = list(dict.fromkeys(str(row["clients"]) for row in result.rows))
    for axes, column in ((rates, "requests/s"), (latencies, "p50 s")):
        series: dict[str, list[float]] = defaultdict(list)
        for row in result.rows:
            series[str(row["server"])].append(float(row[column] or 0))
        draw_bars(axes, [f"{number} clients" for number in clients], series, column)
    return figure


CASE = Case("closed_loop", measure, plot)

if __name__ == "__main__":
    main(CASE)
