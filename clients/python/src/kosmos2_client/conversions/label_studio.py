"""Converts predictions to a prediction of Label Studio: rectangles in percent of the picture."""

from collections.abc import Iterable, Mapping
from typing import Any

from kosmos2_client.entities import Edges
from kosmos2_client.results import Prediction

FROM_NAME = "label"
"""Name of the `RectangleLabels` tag in Label Studio's template for bounding boxes."""

TO_NAME = "image"
"""Name of the `Image` tag in the same template."""

MODEL_VERSION = "kosmos-2"

_DIGITS = 4
"""Decimals of percent: a hundredth of a pixel of a picture of 10,000 pixels."""


def prediction(
    predictions: Iterable[Prediction],
    width: int,
    height: int,
    *,
    from_name: str = FROM_NAME,
    to_name: str = TO_NAME,
    model_version: str = MODEL_VERSION,
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the prediction of a task: its regions, and the mean of their confidences as score.

    Args:
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        from_name: name of the tag `RectangleLabels` in the labelling configuration.
        to_name: name of the tag `Image`.
        labels: from class names to labels of the configuration; classes without one are left out.
            `None` uses the class names.
    """
    kept = [
        (found, label)
        for found in predictions
        if (label := found.class_name if labels is None else labels.get(found.class_name))
    ]
    regions = [
        {
            "id": found.detection_id or f"region{number}",
            "from_name": from_name,
            "to_name": to_name,
            "type": "rectanglelabels",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {**_percent(found.xyxy_normalized), "rotation": 0, "rectanglelabels": [label]},
            "score": found.confidence,
        }
        for number, (found, label) in enumerate(kept, start=1)
    ]
    confidences = [found.confidence for found, _ in kept]
    score = sum(confidences) / len(confidences) if confidences else 0.0
    return {"model_version": model_version, "score": round(score, _DIGITS), "result": regions}


def _percent(box: Edges) -> dict[str, float]:
    left, top, right, bottom = box
    values = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    return {name: round(100 * value, _DIGITS) for name, value in values.items()}
