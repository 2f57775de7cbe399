"""Reads RefCOCO, RefCOCO+ and RefCOCOg as JSON in COCO's layout, with one expression per entry.

The files are known as `finetune_refcoco_val.json` and similar: `images` with `id`, `file_name`,
`width`, `height` and the expression as `caption`; `annotations` with `image_id` and `bbox` (left,
top, width, height in pixels).
"""

import json
from dataclasses import dataclass
from pathlib import Path

from app.pictures.marks import Box


@dataclass(frozen=True)
class Expression:
    """A referring expression and its box, normalised."""

    picture: Path
    text: str
    box: Box

    @property
    def prompt(self) -> str:
        """The prompt of the paper."""
        return f"<grounding><phrase>{self.text}</phrase>"


def read_refcoco(annotations: Path, images: Path) -> list[Expression]:
    """Return every expression of a split."""
    content = json.loads(annotations.read_bytes())
    entries = {entry["id"]: entry for entry in content["images"]}
    expressions = []
    for annotation in content["annotations"]:
        entry = entries[annotation["image_id"]]
        left, top, width, height = annotation["bbox"]
        box = (
            left / entry["width"],
            top / entry["height"],
            (left + width) / entry["width"],
            (top + height) / entry["height"],
        )
        expressions.append(Expression(images / entry["file_name"], entry["caption"], box))
    return expressions
