"""Plots the dashboard's panels from the answers of a real Prometheus to their queries.

    python -m scripts.draw_dashboard docs/images/dashboard.png

Grafana itself is not needed: its plots look different but show the same data.
"""

import math
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, Formatter, MaxNLocator, PercentFormatter

from harness.queries import dashboard
from scripts.dashboard_data import STEP_S, Series, collect

COLUMNS, COLUMN_INCHES, ROW_INCHES = 24, 0.75, 0.44  # as the grid of Grafana
DOTS_PER_INCH = 80
COLORS = {"green": "#56a64b", "orange": "#ff9830", "red": "#e02f44", "text": "#555555"}
LEGEND_LINES = 2
CAPTION = (
    "Not Grafana: scripts/draw_dashboard.py plotted the answers of Prometheus to the queries of "
    "deploy/grafana/dashboards/kosmos2.json. This run had no GPU."
)


def draw(series_of: dict[int, list[Series]]) -> Figure:
    """Return the whole dashboard, each panel at its position in Grafana.

    Args:
        series_of: the data of each panel, by its number.
    """
    panels = dashboard()["panels"]
    end_s = max(at for each in series_of.values() for one in each for at in one.times_s)
    # One more row, for the caption.
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) + 1
    figure = Figure(figsize=(COLUMNS * COLUMN_INCHES, height * ROW_INCHES), dpi=DOTS_PER_INCH)
    figure.text(0.5, 0.4 / height, CAPTION, ha="center", va="center", fontsize=9, style="italic")
    for panel in panels:
        if panel["type"] == "row":
            top = 1 - (panel["gridPos"]["y"] + 0.8) / height
            figure.text(0.01, top, panel["title"], fontsize=14, weight="bold")
        else:
            axes = figure.add_axes(_place(panel["gridPos"], height), xlim=(0, end_s))
            kind = _draw_stat if panel["type"] == "stat" else _draw_lines
            kind(axes, panel, series_of[panel["id"]])
    return figure


def _place(position: dict[str, int], height: int) -> tuple[float, float, float, float]:
    """Return left, bottom, width and height of a panel's axes, with room for title and legend."""
    left, width = position["x"] + 0.9, position["w"] - 1.2
    bottom, tall = height - position["y"] - position["h"] + 1.7, position["h"] - 2.8
    return left / COLUMNS, bottom / height, width / COLUMNS, tall / height


def _draw_stat(axes: Axes, panel: dict[str, Any], series: list[Series]) -> None:
    """Draw the last value on the color of its threshold, or the names of all series."""
    defaults = panel["fieldConfig"]["defaults"]
    axes.set_title(panel["title"], fontsize=11, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
    if panel["options"].get("textMode") == "name":
        text = "\n".join(sorted({each.legend for each in series}))
        axes.set_facecolor(COLORS["text"])
    else:
        (value,) = [each.values[-1] for each in series]
        text = f"{value:.1%}" if defaults["unit"] == "percentunit" else f"{value:g}"
        axes.set_facecolor(COLORS[_color(defaults["thresholds"]["steps"], value)])
    size = 24 if len(text) < 12 else 12
    axes.text(
        0.5, 0.5, text, fontsize=size, color="white", ha="center", va="center",
        transform=axes.transAxes,
    )  # fmt: skip


def _color(steps: list[dict[str, Any]], value: float) -> str:
    """Return the color of the last threshold that a value has reached.

    >>> _color([{"color": "red", "value": None}, {"color": "green", "value": 2}], 1)
    'red'
    """
    reached = [step for step in steps if step["value"] is None or value >= step["value"]]
    return str(reached[-1]["color"])


def _draw_lines(axes: Axes, panel: dict[str, Any], series: list[Series]) -> None:
    """Draw one line for each series, or stack them; a panel without data shows "No data"."""
    defaults = panel["fieldConfig"]["defaults"]
    axes.set_title(panel["title"], fontsize=11, loc="left")
    if not series:
        _draw_nothing(axes)
        return
    if "custom" in defaults:
        _stack(axes, series)
    else:
        for each in series:
            axes.plot(*_with_gaps(each), label=each.legend, linewidth=1.4)
    axes.set_ylim(bottom=0, top=1.05 * defaults["max"] if "max" in defaults else None)
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=8)
    axes.xaxis.set_major_formatter(EngFormatter("s"))
    axes.yaxis.set_major_formatter(_scale(defaults["unit"]))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=defaults["unit"] in ("short", "none")))
    columns = math.ceil(len(series) / LEGEND_LINES)
    axes.legend(
        fontsize=8, loc="upper left", bbox_to_anchor=(-0.02, -0.12), ncols=max(columns, 3),
        frameon=False, columnspacing=1.0, handlelength=1.2, labelspacing=0.2,
    )  # fmt: skip


def _with_gaps(series: Series) -> tuple[list[float], list[float]]:
    """Return times and values, with a NaN in the middle of each gap.

    >>> _with_gaps(Series("a", [0, 2, 8], [1.0, 1.0, 3.0]))
    ([0, 2, 5.0, 8], [1.0, 1.0, nan, 3.0])
    """
    points = list(zip(series.times_s, series.values, strict=True))
    missing = [
        ((before + after) / 2, math.nan)
        for before, after in pairwise(series.times_s)
        if after - before > 1.5 * STEP_S
    ]
    times, values = zip(*sorted(points + missing), strict=True)
    return list(times), list(values)


def _draw_nothing(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(
        0.5, 0.5, "No data", color=COLORS["text"], ha="center", va="center",
        transform=axes.transAxes,
    )  # fmt: skip


def _stack(axes: Axes, series: list[Series]) -> None:
    """Stack the series; a missing value counts as 0."""
    times = sorted({at for each in series for at in each.times_s})
    values = [dict(zip(each.times_s, each.values, strict=True)) for each in series]
    stacked = [[_finite(each.get(at, 0.0)) for at in times] for each in values]
    axes.stackplot(times, stacked, labels=[each.legend for each in series], alpha=0.6)


def _scale(unit: str) -> Formatter:
    """Return the formatter for the values of a panel."""
    if unit == "percentunit":
        return PercentFormatter(1, decimals=0)
    return EngFormatter({"s": "s", "bytes": "B"}.get(unit, ""))


def _finite(value: float) -> float:
    # The ratio of two rates is NaN without requests, which would hide the whole stack.
    return value if math.isfinite(value) else 0.0


def main() -> None:
    """Run the scenario, send the queries and draw the panels."""
    # Draws without a display.
    mpl.use("Agg")
    draw(collect()).savefig(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
