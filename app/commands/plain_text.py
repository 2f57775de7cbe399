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


def _describe_box(box: dict[str, Any]) -> str:
    if box["xyxy_refined"] is None:
        return f"[{', '.join(f'{edge:.0f}' for edge in box['xyxy'])}] (from the request)"
    xyxy = ", ".join(f"{edge:.1f}" for edge in box["xyxy_refined"])
    return f"[{xyxy}] confidence {box['confidence']:.2f}"
