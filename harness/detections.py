"""Compares answers of detections, and draws folders of different pictures for them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from app.contract.examples import EXAMPLE_SCENE
from harness.answers import are_same

CLASSES = "red circle,blue square"


def are_same_detections(answer: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two answers are equal except for ids, times, caching and rounding."""
    return are_same(_comparable(answer), _comparable(other))


def draw_folder(folder: Path, count: int) -> None:
    """Draw pictures with the same shapes at different places, some in subfolders."""
    scene = Image.open(EXAMPLE_SCENE)
    for number in range(count):
        picture = Image.new("RGB", (360, 260), "white")
        picture.paste(scene, (number % 60, number // 60 * 10 % 60))
        path = folder / f"part-{number % 3}" / f"{number:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)


def _comparable(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer without ids and times; refined boxes have the name that `are_same` knows."""
    omitted = {"id", "inference_id", "time", "predictions"}
    others = {name: value for name, value in answer.items() if name not in omitted}
    predictions = [
        {
            "class": found["class"],
            "class_id": found["class_id"],
            "xyxy_refined": found["xyxy"],
            "confidence": found["confidence"],
        }
        for found in answer["predictions"]
    ]
    # Rounding may change the order of two predictions with almost the same confidence.
    predictions.sort(key=lambda found: (found["class_id"], *map(round, found["xyxy_refined"])))
    return {**others, "predictions": predictions}
