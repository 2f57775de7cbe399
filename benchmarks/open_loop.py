"""This service under Poisson arrivals, from 20 % to 120 % of its capacity.

    python -m benchmarks.open_loop [--quick] [--out FOLDER]

Answers are streamed. Times count from the intended arrival (see app/bench/loops.py).
"""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure as Plot

from app.bench.loops import Bounds, poisson_arrivals
from app.bench.results import LoadResult, Percentiles, Sample
from app.settings import EMBEDDED_CHECKPOINT
from benchmarks.case import Case, Figure, Result, Row, log_progress, main
from benchmarks.contestants import running, service
from benchmarks.loads import put_closed_load, put_open_load
from benchmarks.plots import draw_lines, panels, use_logarithms
from benchmarks.workloads import SEED, different_pictures

CLIENTS = 32  # of the closed loop that measures the capacity
COMPARED = (0.2, 0.7)
SHARES = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
ROUNDS = 2

Loads = Mapping[float, list[Sample]]
"""The samples of all rounds, by share of capacity."""


def measure(is_quick: bool) -> Result:
    """Measure all shares of the capacity (see the module)."""
    workload = different_pictures(6 if is_quick else 96)
    shares = COMPARED if is_quick else SHARES
    rounds = 1 if is_quick else ROUNDS
    with running(service(picture_cache_bytes=0), EMBEDDED_CHECKPOINT) as url:
        bounds = Bounds(seconds=1.0 if is_quick else 30.0)
        found = put_closed_load(url, workload, CLIENTS, bounds)
        capacity = LoadResult.of(found).goodput_per_s
        loads: dict[float, list[Sample]] = {share: [] for share in shares}
        # Rounds instead of longer loads: each share is measured at several times.
        for number in range(rounds):
            for share in shares:
                log_progress(
                    f"open loop, round {number + 1}: {share:.0%} of {capacity:.1f} requests/s"
                )
                requests = 4 if is_quick else _num_requests(share) // rounds
                arrivals = poisson_arrivals(share * capacity, SEED + number, Bounds(requests))
                loads[share] += put_open_load(url, workload, arrivals)
    return Result(
        "Open loop: Poisson arrivals on the embedded checkpoint",
        [_row(share, share * capacity, samples) for share, samples in loads.items()],
        _figures(loads),
        [
            f"The capacity, {capacity:.3g} requests/s, is the rate of {CLIENTS} waiting clients. "
            "Answers are streamed, and no pictures are cached. `behind s` is the largest delay of "
            "the generator itself; it is part of the times."
        ],
    )


def _num_requests(share: float) -> int:
    """Return 2,000 where a goal compares, so that twenty requests exceed the 99th percentile."""
    return 2000 if share in COMPARED else 600


def _row(share: float, rate: float, samples: Sequence[Sample]) -> Row:
    result = LoadResult.of(samples)
    first, whole = result.time_to_first_token_s, result.latency_s
    return {
        "share": share,
        "arrivals/s": rate,
        "requests": result.num_requests,
        "refused or failed": result.num_requests - result.num_good,
        **_percentiles("first token", first),
        **_percentiles("latency", whole),
        "behind s": result.max_send_delay_s,
    }


def _percentiles(name: str, times: Percentiles | None) -> dict[str, float | None]:
    shown = ("p50", "p95", "p99")
    return {f"{name} {p} s": None if times is None else float(getattr(times, p)) for p in shown}


def _figures(loads: Loads) -> list[Figure]:
    low, high = (LoadResult.of(loads[share]).time_to_first_token_s for share in COMPARED)
    ratio = high.p99 / low.p99 if low is not None and high is not None else float("nan")
    name = "p99 time to first token at 70 % of capacity over that at 20 %"
    return [Figure(name, ratio, at_most=3)]


def plot(result: Result) -> Plot:
    """Plot both times over the load."""
    figure, axes = panels(2)
    shares = [100 * float(row["share"] or 0) for row in result.rows]
    for each, name in zip(axes, ("first token", "latency"), strict=True):
        series = {
            p: [float(row[f"{name} {p} s"] or 0) for row in result.rows]
            for p in ("p50", "p95", "p99")
        }
        draw_lines(each, shares, series, ("% of capacity", f"{name}, s"))
        use_logarithms(each, "y")
    return figure


CASE = Case("open_loop", measure, plot)

if __name__ == "__main__":
    main(CASE)
