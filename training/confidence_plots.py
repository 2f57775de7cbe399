"""Draws how reliable the confidence is, and coarse boxes next to refined ones."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageDraw

from app.checkpoint.calibration import Calibration
from app.pictures.marks import Box, scale_box
from training.confidence_measures import RatedBox
from training.confidence_questions import Grounded, coarse_box
from training.measured_scenes import CLEAN, measured_scene
from training.metrics import mean

SIDE = 240
GAP = 8
NUM_EXAMPLES = 4
NUM_BINS = 10
COLOUR = (255, 0, 160)
"""No object of the scenes has it."""


def draw_reliability(boxes: dict[str, list[RatedBox]], path: Path) -> None:
    """Plot the mean IoU over score and confidence, in bins of equal size, per kind of scene."""
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(4.5, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    for (kind, some), colour in zip(boxes.items(), ("tab:blue", "tab:orange"), strict=True):
        points = _bins([(box.confidence, box.iou) for box in some])
        axes.plot(*zip(*points, strict=True), "o-", color=colour, label=f"confidence, {kind}")
        points = _bins([(box.score, box.iou) for box in some])
        axes.plot(
            *zip(*points, strict=True), "x--", color=colour, label=f"score, {kind}", alpha=0.5
        )
    axes.set_xlabel("confidence or score of the box")
    axes.set_ylabel("mean IoU of the refined box")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=100)


def _bins(pairs: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the means of both values, in bins of equal size."""
    ordered = sorted(pairs)
    edges = [round(number * len(ordered) / NUM_BINS) for number in range(NUM_BINS + 1)]
    bins = [ordered[start:end] for start, end in pairwise(edges) if start < end]
    return [(mean([x for x, _ in some]), mean([y for _, y in some])) for some in bins]


def draw_boxes(grounded: Sequence[Grounded], calibration: Calibration, path: Path) -> None:
    """Draw the first phrases of held-out scenes: above the boxes of the cells, below refined ones.

    A box is cut out enlarged, because the difference is a few pixels.
    """
    chosen = [o for o in grounded if (o.kind, o.task) == (CLEAN, "phrases") and o.boxes]
    page = Image.new("RGB", (NUM_EXAMPLES * (SIDE + GAP) + GAP, 2 * (SIDE + GAP) + GAP), "white")
    for column, one in enumerate(chosen[:NUM_EXAMPLES]):
        picture = measured_scene("held out", one.scene).picture
        pair = (coarse_box(one.boxes[0]), one.boxes[0].localize(calibration).box)
        for row, box in enumerate(pair):
            tile = _close_up(picture, box, around=one.targets[0])
            page.paste(tile, (GAP + column * (SIDE + GAP), GAP + row * (SIDE + GAP)))
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path, optimize=True)


def _close_up(picture: Image.Image, box: Box, around: Box) -> Image.Image:
    """Return the surroundings of an object, enlarged to `SIDE`, with a box drawn on them."""
    x0, y0, x1, y1 = scale_box(around, picture.width, picture.height)
    half = 0.65 * max(x1 - x0, y1 - y0)
    left, top = (x0 + x1) / 2 - half, (y0 + y1) / 2 - half
    scale = SIDE / (2 * half)
    window = (left, top, left + 2 * half, top + 2 * half)
    tile = picture.transform(
        (SIDE, SIDE), Image.Transform.EXTENT, window, Image.Resampling.BICUBIC, fillcolor="white"
    )
    corners = scale_box(box, picture.width, picture.height)
    drawn = [(v - start) * scale for v, start in zip(corners, (left, top, left, top), strict=True)]
    ImageDraw.Draw(tile).rectangle(drawn, outline=COLOUR, width=2)
    return tile
