"""Plots that show how reliable the scores of boxes are."""

from collections.abc import Sequence
from pathlib import Path

from training.metrics import reliability, roc_auc, roc_curve

PLOTS = ROC, RELIABILITY = "box-score-roc.png", "box-score-reliability.png"


def draw_plots(scores: Sequence[float], truths: Sequence[bool], directory: Path) -> None:
    """Write both plots to a folder."""
    directory.mkdir(parents=True, exist_ok=True)
    _draw_roc(scores, truths, directory / ROC)
    _draw_reliability(scores, truths, directory / RELIABILITY)


def _draw_roc(scores: Sequence[float], truths: Sequence[bool], path: Path) -> None:
    # Imported here, so that a machine that only evaluates does not need matplotlib.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4.2), layout="constrained")
    axes = figure.subplots()
    false_rates, true_rates = zip(*roc_curve(scores, truths), strict=True)
    axes.plot(false_rates, true_rates, color="tab:blue")
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    axes.set_xlabel("wrong boxes kept")
    axes.set_ylabel("right boxes kept")
    axes.set_title(f"Box score, area {roc_auc(scores, truths):.3f}")
    figure.savefig(path, dpi=100)


def _draw_reliability(scores: Sequence[float], truths: Sequence[bool], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4.2), layout="constrained")
    axes = figure.subplots()
    bins = reliability(scores, truths)
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    axes.plot(
        [one.mean_score for one in bins], [one.accuracy for one in bins], "o-", color="tab:blue"
    )
    for one in bins:
        axes.annotate(
            str(one.num_boxes),
            (one.mean_score, one.accuracy),
            xytext=(0, -14),
            textcoords="offset points",
            ha="center",
            fontsize=7,
        )
    axes.set_xlabel("score of the box")
    axes.set_ylabel("share with IoU of at least 0.5")
    axes.set_title("Reliability; numbers are boxes")
    figure.savefig(path, dpi=100)
