"""Formats an answer for a person who reads it on a terminal."""

from typing import Any


def describe(answer: dict[str, Any]) -> str:
    """Format an answer: its text, then one line per phrase and box.

    >>> box = {"xyxy": [114.0, 68.0, 180.0, 134.0], "score": 0.91}
    >>> entity = {"phrase": "a blue square", "boxes": [box]}
    >>> print(describe({"text": "An image of a blue square.", "entities": [entity]}))
    An image of a blue square.
      a blue square: [114, 68, 180, 134] score 0.91

    Args:
        answer: an answer of `POST /v1/ground`.
    """
    lines = [answer["text"]]
    for entity in answer["entities"]:
        for box in entity["boxes"]:
            xyxy = ", ".join(f"{edge:.0f}" for edge in box["xyxy"])
            score = "(from the request)" if box["score"] is None else f"score {box['score']:.2f}"
            lines.append(f"  {entity['phrase'] or '(no phrase)'}: [{xyxy}] {score}")
    return "\n".join(lines)
