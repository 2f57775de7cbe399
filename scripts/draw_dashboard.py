"""Draws the dashboard's panels from what a real run's Prometheus answers to their queries.

    python -m scripts.draw_dashboard docs/images/dashboard.png

Grafana is not asked: what it would draw looks otherwise, and says the same.
"""

import math
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from scripts.dashboard_data import Series, collect
from tests.support.queries import dashboard

COLUMNS, COLUMN_INCHES, ROW_INCHES = 24, 0.75, 0.36
COLORS = {"green": "#56a64b", "orange": "#ff9830", "red": "#e02f44", "text": "#555555"}
CAPTION = (
    "Not Grafana: scripts/draw_dashboard.py plotted what Prometheus answered to the queries of "
    "deploy/grafana/dashboards/kosmos2.json"
)


def draw(series_of: dict[int, list[Series]]) -> Figure:
    """The whole dashboard, each panel where it stands in Grafana.

    Args:
        series_of: the data of each panel, by its number.
    """
    panels = dashboard()["panels"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) + 1
    figure = Figure(figsize=(COLUMNS * COLUMN_INCHES, height * ROW_INCHES), dpi=70)
    figure.text(0.5, 0.4 / height, CAPTION, ha="center", va="center", fontsize=9, style="italic")
    for panel in panels:
        if panel["type"] == "row":
            top = 1 - (panel["gridPos"]["y"] + 0.8) / height
            figure.text(0.01, top, panel["title"], fontsize=14, weight="bold")
        else:
            axes = figure.add_axes(_place(panel["gridPos"], height))
            kind = _draw_stat if panel["type"] == "stat" else _draw_lines
            kind(axes, panel, series_of[panel["id"]])
    return figure


def _place(position: dict[str, int], height: int) -> tuple[float, float, float, float]:
    """Left, bottom, width, height of a panel's axes, with room for its title and its scales."""
    left, width = position["x"] + 0.9, position["w"] - 1.2
    bottom, tall = height - position["y"] - position["h"] + 1.0, position["h"] - 2.2
    return left / COLUMNS, bottom / height, width / COLUMNS, tall / height


def _draw_stat(axes: Axes, panel: dict[str, Any], series: list[Series]) -> None:
    """The last value in large, on the color of its threshold; or the names of what there is."""
    defaults = panel["fieldConfig"]["defaults"]
    axes.set_title(panel["title"], fontsize=10, loc="left")
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
    """Of the last threshold that a value has reached.

    >>> _color([{"color": "red", "value": None}, {"color": "green", "value": 2}], 1)
    'red'
    """
    reached = [step for step in steps if step["value"] is None or value >= step["value"]]
    return str(reached[-1]["color"])


def _draw_lines(axes: Axes, panel: dict[str, Any], series: list[Series]) -> None:
    """One line for each series, or one on the other."""
    defaults = panel["fieldConfig"]["defaults"]
    axes.set_title(panel["title"], fontsize=10, loc="left")
    if "custom" in defaults:
        times = sorted({at for each in series for at in each.times_s})
        values = [dict(zip(each.times_s, each.values, strict=True)) for each in series]
        stacked = [[_finite(each.get(at, 0.0)) for at in times] for each in values]
        axes.stackplot(times, stacked, labels=[each.legend for each in series], alpha=0.6)
    else:
        for each in series:
            axes.plot(each.times_s, each.values, label=each.legend, linewidth=1.2)
    axes.set_ylim(bottom=0, top=1.05 * defaults["max"] if "max" in defaults else None)
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=7)
    axes.xaxis.set_major_formatter(EngFormatter("s"))
    if defaults["unit"] == "percentunit":
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    elif defaults["unit"] in ("s", "bytes"):
        axes.yaxis.set_major_formatter(EngFormatter({"s": "s", "bytes": "B"}[defaults["unit"]]))
    axes.legend(fontsize=6, loc="upper left", framealpha=0.6)


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def main() -> None:
    """Run, ask, draw."""
    mpl.use("Agg")
    draw(collect()).savefig(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
