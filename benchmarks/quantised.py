"""The service with 8-bit weights next to itself in float32: the share of equal answers.

    python -m benchmarks.quantised [--quick] [--out FOLDER]

Uses the embedded checkpoint, with one client and with sixteen, whose rows share every step.
"""

from matplotlib.figure import Figure as Plot

from app.bench.loops import Bounds
from app.bench.results import LoadResult
from app.settings import EMBEDDED_CHECKPOINT
from benchmarks.case import Case, Figure, Result, Row, log_progress, main
from benchmarks.contestants import Contestant, running, service
from benchmarks.loads import put_closed_load
from benchmarks.plots import draw_bars, panels
from benchmarks.workloads import different_pictures, expected_markups, share_right

CLIENTS = (1, 16)
INT8 = service("int8", quantize="int8", picture_cache_bytes=0)
FLOAT32 = service("float32", picture_cache_bytes=0)


def measure(is_quick: bool) -> Result:
    """Measure both variants (see the module)."""
    workload = different_pictures(6 if is_quick else 600)
    expected = expected_markups(EMBEDDED_CHECKPOINT, workload)
    rows: list[Row] = []
    figures = []
    for contestant in (INT8,) if is_quick else (FLOAT32, INT8):
        log_progress(f"quantised: {contestant.name}")
        with running(contestant, EMBEDDED_CHECKPOINT) as url:
            for clients in CLIENTS:
                bounds = Bounds(num_requests=len(workload))
                samples = put_closed_load(url, workload, clients, bounds)
                right = share_right(samples, expected)
                rows.append(_row(contestant, clients, LoadResult.of(samples), right))
                if contestant is INT8:
                    name = f"int8 answers equal to float32's, {clients} at once"
                    figures.append(Figure(name, right, at_least=0.975))
    return Result(
        "8-bit weights on the embedded checkpoint",
        rows,
        figures,
        [f"{len(workload)} requests, about as many pictures; `equal`: to `generate`."],
    )


def share_equal_in_int8(num_requests: int) -> float:
    """Return the share of answers in 8 bits, one at a time, that equal those in float32."""
    workload = different_pictures(num_requests)
    expected = expected_markups(EMBEDDED_CHECKPOINT, workload)
    with running(INT8, EMBEDDED_CHECKPOINT) as url:
        samples = put_closed_load(url, workload, 1, Bounds(num_requests=num_requests))
    return share_right(samples, expected)


def _row(contestant: Contestant, clients: int, result: LoadResult, right: float) -> Row:
    return {
        "weights": contestant.name,
        "clients": clients,
        "requests/s": result.goodput_per_s,
        "equal": right,
    }


def plot(result: Result) -> Plot:
    """Plot the shares of equal answers, with a group of bars for each number of clients."""
    figure, (axes,) = panels(1)
    names = dict.fromkeys(str(row["weights"]) for row in result.rows)
    series = {
        name: [float(row["equal"] or 0) for row in result.rows if row["weights"] == name]
        for name in names
    }
    draw_bars(axes, [f"{clients} clients" for clients in CLIENTS], series, "share equal")
    return figure


CASE = Case("quantised", measure, plot)

if __name__ == "__main__":
    main(CASE)
