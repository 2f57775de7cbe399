"""Plots a soak over time: memory by kind of process, descriptors and threads, latency."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.plots import panels
from reliability.growth import Row

_MEGABYTE = 1e6
_MINUTE_S = 60.0


def draw_soak(rows: Sequence[Row], file: Path) -> None:
    """Write the plot; `rows` must have at least one sample."""
    figure, (memory, counted, latency) = panels(3)
    minutes = [row.at_s / _MINUTE_S for row in rows]
    memory.stackplot(
        minutes,
        *(
            [row.processes[kind].resident_bytes / _MEGABYTE for row in rows]
            for kind in rows[0].processes
        ),
        labels=list(rows[0].processes),
    )
    memory.set_ylabel("resident memory, MB")
    counted.plot(minutes, [row.total.num_descriptors for row in rows], label="descriptors")
    counted.plot(minutes, [row.total.num_threads for row in rows], label="threads")
    counted.set_ylim(bottom=0)
    seen = [(row.at_s / _MINUTE_S, row.latency_s) for row in rows if row.latency_s is not None]
    answered_minutes = [minute for minute, _ in seen]
    latency.plot(answered_minutes, [1000 * times.p50 for _, times in seen], label="p50")
    latency.plot(answered_minutes, [1000 * times.p99 for _, times in seen], label="p99")
    latency.set_ylim(bottom=0)
    latency.set_ylabel("latency, ms")
    for axes in (memory, counted, latency):
        axes.set_xlabel("minutes")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, loc="lower right")
    figure.savefig(file, dpi=120)
