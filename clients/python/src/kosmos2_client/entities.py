"""The phrases of a grounding and their boxes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

Edges = tuple[float, float, float, float]
"""A box: left, top, right, bottom."""


@dataclass(frozen=True)
class Box:
    """A box of a grounding; docs/requests.md explains its fields.

    Attributes:
        xyxy: the coarse box, on the model's 32 × 32 grid, in pixels.
        xyxy_refined: the finer box in pixels; `None` for a box that was sent with the request.
        confidence: expected overlap of the finer box with the true one, 0…1; `None` for the same.
    """

    xyxy: Edges
    xyxy_normalized: Edges
    patch_indices: tuple[int, int]
    score: float | None
    xyxy_refined: Edges | None
    xyxy_refined_normalized: Edges | None
    confidence: float | None

    @classmethod
    def from_json(cls, box: Mapping[str, Any]) -> Self:
        """Return a box of an answer of `POST /v1/ground`."""
        first, second = box["patch_indices"]
        refined, normalized = box.get("xyxy_refined"), box.get("xyxy_refined_normalized")
        return cls(
            xyxy=read_edges(box["xyxy"]),
            xyxy_normalized=read_edges(box["xyxy_normalized"]),
            patch_indices=(first, second),
            score=box.get("score"),
            xyxy_refined=None if refined is None else read_edges(refined),
            xyxy_refined_normalized=None if normalized is None else read_edges(normalized),
            confidence=box.get("confidence"),
        )


@dataclass(frozen=True)
class Entity:
    """A phrase of the text and its boxes.

    Attributes:
        phrase: `None` for a box without a phrase.
        span: start and end of the phrase in `Grounding.text`.
        from_prompt: whether the boxes were sent with the request.
    """

    phrase: str | None
    span: tuple[int, int]
    from_prompt: bool
    boxes: tuple[Box, ...]

    @classmethod
    def from_json(cls, entity: Mapping[str, Any]) -> Self:
        """Return an entity of an answer of `POST /v1/ground`."""
        start, end = entity["span"]
        boxes = tuple(Box.from_json(box) for box in entity["boxes"])
        return cls(entity["phrase"], (start, end), entity["from_prompt"], boxes)


def read_edges(numbers: Sequence[float]) -> Edges:
    """Return a box of an answer.

    Raises:
        ValueError: it has not four numbers.
    """
    left, top, right, bottom = numbers
    return left, top, right, bottom
