"""Sends a picture from Python: python docs/examples/ground.py URL PICTURE.

Needs httpx. `to_detections` converts the boxes for supervision (`pip install supervision`).
"""

import sys
from pathlib import Path
from typing import Any

import httpx


def ground(url: str, picture: Path, **fields: str) -> dict[str, Any]:
    """Send a picture and a task, and return the answer.

    Raises:
        RuntimeError: with the code and the message of an error response.
    """
    response = httpx.post(
        f"{url}/v1/ground", files={"image": picture.read_bytes()}, data=fields, timeout=120
    )
    if response.is_error:
        problem = response.json()
        raise RuntimeError(f"{problem['code']}: {problem['detail']}")
    answer: dict[str, Any] = response.json()
    return answer


def to_detections(answer: dict[str, Any]) -> Any:
    """Return the generated boxes as supervision's `Detections`, with confidence and phrases."""
    import numpy as np
    import supervision

    # Boxes that the request itself contains have no confidence.
    boxes = [(b, e) for e in answer["entities"] for b in e["boxes"] if b["confidence"] is not None]
    return supervision.Detections(
        # Without boxes, supervision still expects four columns.
        xyxy=np.array([b["xyxy_refined"] for b, _ in boxes]).reshape(-1, 4),
        confidence=np.array([b["confidence"] for b, _ in boxes]),
        data={"class_name": [e["phrase"] for _, e in boxes]},
    )


def main() -> None:
    """Caption a picture, then ground the first phrase of the caption."""
    url, picture = sys.argv[1], Path(sys.argv[2])
    caption = ground(url, picture, task="brief_caption")
    print(caption["answer"])
    for entity in caption["entities"]:
        start, end = entity["span"]  # counted in code points, as in Python
        print(caption["text"][start:end], [box["xyxy_refined"] for box in entity["boxes"]])
    if caption["entities"]:
        phrase = caption["entities"][0]["phrase"]
        found = ground(url, picture, task="phrase_grounding", text=phrase)
        print("found", phrase, [box["confidence"] for box in found["entities"][0]["boxes"]])


if __name__ == "__main__":
    main()
