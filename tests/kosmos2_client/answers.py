"""Answers of a service, made by hand, for tests without one."""

from typing import Any

IMAGE = {"width": 200, "height": 100, "exif_orientation": 6}


def prediction(name: str, class_id: int, confidence: float) -> dict[str, Any]:
    """Return a prediction of `POST /v1/detect`; all have the same box."""
    return {
        "x": 30.0,
        "y": 40.0,
        "width": 20.0,
        "height": 40.0,
        "xyxy": [20.0, 20.0, 40.0, 60.0],
        "xyxy_normalized": [0.1, 0.2, 0.2, 0.6],
        "confidence": confidence,
        "presence": 0.9,
        "expected_iou": 0.8,
        "class": name,
        "class_id": class_id,
        "detection_id": f"{name}-1",
    }


def detections(*names: str, presence: float = 0.9, **others: Any) -> dict[str, Any]:
    """Return an answer of `POST /v1/detect` with one prediction per class."""
    predictions = [
        prediction(name, number, round(0.9 - number / 100, 2)) for number, name in enumerate(names)
    ]
    return {
        "id": "7",
        "inference_id": "7",
        "model": "m",
        "predictions": predictions,
        "classes": [
            {"class": name, "class_id": number, "presence": presence}
            for number, name in enumerate(names)
        ],
        "image": IMAGE,
        "confidence": 0.3,
        "tiles": 0,
        "calibrated": True,
        "notice": None,
        "usage": {"prompt_tokens": 70, "completion_tokens": 5, "cached_tokens": 0},
        "time": 0.5,
        **others,
    }


def box(confidence: float | None) -> dict[str, Any]:
    """Return a box of a grounding; without a confidence it is one of the request."""
    is_generated = confidence is not None
    return {
        "xyxy": [20.0, 20.0, 40.0, 60.0],
        "xyxy_normalized": [0.1, 0.2, 0.2, 0.6],
        "patch_indices": [1, 70],
        "score": 0.7 if is_generated else None,
        "xyxy_refined": [21.0, 20.0, 40.0, 60.0] if is_generated else None,
        "xyxy_refined_normalized": [0.105, 0.2, 0.2, 0.6] if is_generated else None,
        "confidence": confidence,
    }


def grounding(*entities: dict[str, Any], **others: Any) -> dict[str, Any]:
    """Return an answer of `POST /v1/ground`."""
    return {
        "id": "8",
        "model": "m",
        "task": "brief_caption",
        "text": "a dog and a cat",
        "answer": "a dog and a cat",
        "answer_start": 0,
        "entities": list(entities),
        "markup": "",
        "image": IMAGE,
        "finish_reason": "stop",
        "calibrated": True,
        "seed": None,
        "usage": {"prompt_tokens": 70, "completion_tokens": 5, "cached_tokens": 0},
        "timings": {},
        **others,
    }


def entity(phrase: str | None, *boxes: dict[str, Any], from_prompt: bool = False) -> dict[str, Any]:
    """Return an entity of a grounding."""
    return {"phrase": phrase, "span": [0, 5], "from_prompt": from_prompt, "boxes": list(boxes)}


def problem(status: int, code: str, detail: str = "a reason") -> dict[str, Any]:
    """Return a problem+json object."""
    return {"type": "about:blank", "title": "T", "status": status, "detail": detail, "code": code}
