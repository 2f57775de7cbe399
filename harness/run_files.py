"""Run files of the Python client with chosen boxes, for tests without a service."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Box = tuple[float, float, float, float]
Found = tuple[str, Box, float]
"""A class, its box in pixels of the upright picture, and the confidence."""


def image(width: int = 200, height: int = 100, exif_orientation: int = 1) -> dict[str, int]:
    return {"width": width, "height": height, "exif_orientation": exif_orientation}


def detect_answer(
    found: Sequence[Found],
    classes: Sequence[str] = ("red circle", "blue square"),
    picture: Mapping[str, int] | None = None,
    *,
    presence: Mapping[str, float] | None = None,
    threshold: float = 0.01,
) -> dict[str, Any]:
    """Return an answer of `POST /v1/detect`.

    Args:
        presence: of each class; by default 1 for those that were found.
    """
    size = dict(picture or image())
    presences = presence or {
        name: float(any(name == one for one, _, _ in found)) for name in classes
    }
    return {
        "id": "1",
        "inference_id": "1",
        "model": "kosmos-2",
        "predictions": [
            _prediction(number, one, classes, size, presences) for number, one in enumerate(found)
        ],
        "classes": [
            {"class": name, "class_id": number, "presence": presences[name]}
            for number, name in enumerate(classes)
        ],
        "image": size,
        "confidence": threshold,
        "tiles": 0,
        "calibrated": False,
        "usage": {"prompt_tokens": 70, "completion_tokens": 5, "cached_tokens": 0},
        "time": 0.1,
    }


def _prediction(
    number: int,
    found: Found,
    classes: Sequence[str],
    size: Mapping[str, int],
    presences: Mapping[str, float],
) -> dict[str, Any]:
    name, box, confidence = found
    x0, y0, x1, y1 = box
    width, height = size["width"], size["height"]
    return {
        "x": (x0 + x1) / 2,
        "y": (y0 + y1) / 2,
        "width": x1 - x0,
        "height": y1 - y0,
        "xyxy": list(box),
        "xyxy_normalized": [x0 / width, y0 / height, x1 / width, y1 / height],
        "confidence": confidence,
        "presence": presences[name],
        "expected_iou": min(1.0, confidence / presences[name]),
        "class": name,
        "class_id": list(classes).index(name),
        "detection_id": f"detection-{number}",
    }


def answer_line(path: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    size = answer["image"]
    facts = {name: size[name] for name in ("width", "height")}
    facts["orientation"] = size["exif_orientation"]
    return {"path": path, "image": facts, "answer": answer}


def error_line(path: str, code: str = "invalid_image") -> dict[str, Any]:
    return {"path": path, "error": {"code": code, "detail": "no picture", "status": 400}}


def write_run(path: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path
