"""Draws the worst pictures of an evaluation on one HTML page without scripts."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import quote

from kosmos2_client.entities import Edges
from kosmos2_client.evaluation.evaluate import EvaluatedPicture, of_class
from kosmos2_client.evaluation.matching import IOU_LIMITS, Outcome, Overlaps
from kosmos2_client.results import Image, Prediction

MAX_PICTURES = 50


@dataclass(frozen=True)
class Shape:
    """A rectangle on a picture.

    Attributes:
        kind: `right`, `false` or `missed`.
        title: class and confidence.
    """

    kind: str
    title: str
    xyxy: Edges


@dataclass(frozen=True)
class MarkedPicture:
    """A picture with mistakes."""

    path: str
    image: Image | None
    shapes: tuple[Shape, ...]
    false_confidence: float

    @property
    def num_mistakes(self) -> int:
        """The number of false predictions and missed objects."""
        return sum(shape.kind != "right" for shape in self.shapes)


def worst_pictures(
    pictures: Iterable[EvaluatedPicture], thresholds: Mapping[str, float]
) -> list[MarkedPicture]:
    """Return the pictures with the most mistakes at IoU 0.5, the worst first.

    Of equally many mistakes, those of more confident predictions are worse.

    Args:
        thresholds: by class; predictions of other classes all count.
    """
    marked = (mark(picture, thresholds) for picture in pictures)
    return nsmallest(
        MAX_PICTURES,
        (one for one in marked if one.num_mistakes),
        key=lambda one: (-one.num_mistakes, -one.false_confidence, one.path),
    )


def mark(picture: EvaluatedPicture, thresholds: Mapping[str, float]) -> MarkedPicture:
    """Return a picture with its right, false and missed boxes."""
    shapes, false_confidence = list[Shape](), 0.0
    names = sorted(
        {one.class_name for one in picture.predictions}
        | {truth.class_name for truth in picture.truths}
    )
    for name in names:
        found, truths = of_class(picture, name)
        sure = [one for one in found if one.confidence >= thresholds.get(name, 0.0)]
        match = Overlaps([one.xyxy for one in sure], truths).match(IOU_LIMITS[0])
        for one, outcome in zip(sure, match.outcomes, strict=True):
            if outcome == Outcome.WRONG:
                false_confidence += one.confidence
            if outcome != Outcome.IGNORED:
                shapes.append(_shape(one, "right" if outcome == Outcome.RIGHT else "false"))
        shapes += [Shape("missed", f"{name}, missed", truth.xyxy) for truth in match.missed]
    return MarkedPicture(picture.path, picture.image, tuple(shapes), false_confidence)


def _shape(found: Prediction, kind: str) -> Shape:
    return Shape(kind, f"{found.class_name}, {kind}, {found.confidence:.2f}", found.xyxy)


def as_html(pictures: Iterable[MarkedPicture], root: Path, sheet: Path) -> str:
    """Return the page.

    Args:
        root: folder of the run.
        sheet: where the page will be; it refers to the pictures from there.
    """
    figures = "\n".join(_figure(picture, root, sheet) for picture in pictures)
    return _PAGE.substitute(figures=figures or "<p>No mistakes.</p>")


def _figure(picture: MarkedPicture, root: Path, sheet: Path) -> str:
    address = os.path.relpath(root / picture.path, sheet.parent).replace(os.sep, "/")
    quoted = quote(address, errors="surrogateescape")
    name = escape(picture.path.encode("utf-8", "replace").decode())
    counts = {
        kind: sum(shape.kind == kind for shape in picture.shapes)
        for kind in ("right", "false", "missed")
    }
    caption = ", ".join(f"{number} {kind}" for kind, number in counts.items())
    mistakes = "; ".join(escape(one.title) for one in picture.shapes if one.kind != "right")
    if picture.image is None:
        return f"<figure><figcaption>{name}: no answer, {caption}</figcaption></figure>"
    boxes = "".join(_rectangle(shape) for shape in picture.shapes)
    width, height = picture.image.width, picture.image.height
    return (
        f'<figure><div><img loading="lazy" src="{escape(quoted)}" alt="{name}" '
        f'style="aspect-ratio:{width}/{height}">'
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none">{boxes}</svg></div>'
        f"<figcaption>{name}: {caption}<br>{mistakes}</figcaption></figure>"
    )


def _rectangle(shape: Shape) -> str:
    left, top, right, bottom = shape.xyxy
    return (
        f'<rect class="{shape.kind}" x="{left:.2f}" y="{top:.2f}" width="{right - left:.2f}" '
        f'height="{bottom - top:.2f}"><title>{escape(shape.title)}</title></rect>'
    )


_PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src *; style-src 'unsafe-inline'">
<title>Worst pictures</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem; }
main { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); }
figure { margin: 0; }
figure div { position: relative; }
img { display: block; width: 100%; background: #ddd; }
svg { position: absolute; inset: 0; width: 100%; height: 100%; }
rect { fill: transparent; stroke-width: 3; vector-effect: non-scaling-stroke; }
.right { stroke: #0a8f3c; }
.false { stroke: #d1242f; stroke-dasharray: 2 3; }
.missed { stroke: #0969da; stroke-dasharray: 8 5; }
figcaption { overflow-wrap: anywhere; }
</style>
<h1>Worst pictures</h1>
<p>Green: right. Red, dotted: false. Blue, dashed: an object that was missed. Hold the pointer over
a box for its class and confidence.</p>
<main>
$figures
</main>
</html>
""")
