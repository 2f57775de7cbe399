"""Shared plots of all cases: grouped bars, and lines over a growing quantity."""

from collections.abc import Mapping, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

_GROUP_WIDTH = 0.8
_PANEL_WIDTH, _PANEL_HEIGHT = 5.5, 3.8


def panels(count: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels side by side."""
    # Without pyplot, which would keep every figure in memory.
    figure = Figure(figsize=(_PANEL_WIDTH * count, _PANEL_HEIGHT), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False)[0])


def draw_bars(
    axes: Axes, groups: Sequence[str], series: Mapping[str, Sequence[float]], label: str
) -> None:
    """Draw bars for each group, one per series, with their values above them."""
    width = _GROUP_WIDTH / len(series)
    for number, (name, values) in enumerate(series.items()):
        xs = [group + number * width for group in range(len(groups))]
        bars = axes.bar(xs, values, width, label=name)
        axes.bar_label(bars, fmt="%.3g", fontsize=7)
    middle = _GROUP_WIDTH / 2 - width / 2
    axes.set_xticks([group + middle for group in range(len(groups))], groups)
    axes.set_ylabel(label)
    # Below the axes, where it hides no bar.
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)


def draw_lines(
    axes: Axes,
    xs: Sequence[float],
    series: Mapping[str, Sequence[float]],
    labels: tuple[str, str],
    *,
    is_logarithmic: bool = False,
) -> None:
    """Draw one line for each series; `labels` are those of the two axes."""
    for name, values in series.items():
        axes.plot(xs, values, marker="o", markersize=3, label=name)
    if is_logarithmic:
        use_logarithms(axes, "x")
        use_logarithms(axes, "y")
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)


def use_logarithms(axes: Axes, name: Literal["x", "y"]) -> None:
    """Make an axis logarithmic, with plain numbers at 1, 2 and 5 of each power of ten."""
    axes.set(**{f"{name}scale": "log"})
    axis = {"x": axes.xaxis, "y": axes.yaxis}[name]
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")
