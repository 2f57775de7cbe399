"""Formats an answer for a person who reads it on a terminal."""

from typing import Any


def describe(answer: dict[str, Any]) -> str:
    """Format an answer: its text, then one line per phrase and box.

    >>> box = {"xyxy": [114.0, 68.0, 180.0, 134.0], "score": 0.81}
    >>> box |= {"xyxy_refined": [114.9, 68.2, 179.6, 133.8], "confidence": 0.91}
    >>> entity = {"phrase": "a blue square", "boxes": [box]}
    >>> print(describe({"text": "An image of a blue square.", "entities": [entity]}))
    An image of a blue square.
      a blue square: [114.9, 68.2, 179.6, 133.8] confidence 0.91

    Args:
        answer: an answer of `POST /v1/ground`.
    """
    lines = [answer["text"]]
    for entity in answer["entities"]:
        for box in entity["boxes"]:
            lines.append(f"  {entity['phrase'] or '(no phrase)'}: {_describe_box(box)}")
    return "\n".join(lines)


def describe_detections(answer: dict[str, Any]) -> str:
    """Format a detection: one line per prediction, then the classes without any.

    >>> found = {"class": "red circle", "xyxy": [10.0, 20.0, 30.0, 40.0], "confidence": 0.9}
    >>> classes = [{"class": "red circle"}, {"class": "heart"}]
    >>> print(describe_detections({"predictions": [found], "classes": classes}))
    red circle: [10.0, 20.0, 30.0, 40.0] confidence 0.90
    not found: heart

    Args:
        answer: an answer of `POST /v1/detect`.
    """
    predictions = answer["predictions"]
    lines = [f"{found['class']}: {_measures(found['xyxy'], found)}" for found in predictions]
    names = {found["class"] for found in predictions}
    missing = [one["class"] for one in answer["classes"] if one["class"] not in names]
    return "\n".join([*lines, *([f"not found: {', '.join(missing)}"] if missing else [])])


def _describe_box(box: dict[str, Any]) -> str:
    if box["xyxy_refined"] is None:
        return f"[{', '.join(f'{edge:.0f}' for edge in box['xyxy'])}] (from the request)"
    return _measures(box["xyxy_refined"], box)


def _measures(edges: list[float], box: dict[str, Any]) -> str:
    xyxy = ", ".join(f"{edge:.1f}" for edge in edges)
    return f"[{xyxy}] confidence {box['confidence']:.2f}"
