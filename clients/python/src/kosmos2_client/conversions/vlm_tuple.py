"""Converts an answer to the pair that `transformers` returns for Kosmos-2.

`supervision.Detections.from_vlm(sv.VLM.KOSMOS_2, pair, resolution_wh=…)` reads it.
"""

from collections.abc import Iterable

from kosmos2_client.entities import Edges, Entity
from kosmos2_client.results import Detections, Grounding, Prediction

EntityTuple = tuple[str, tuple[int, int], list[Edges]]
VlmTuple = tuple[str, list[EntityTuple]]
"""Text, and for each phrase its span in the text and its normalized boxes."""

_SEPARATOR = ", "


def to_tuple(result: Detections | Grounding) -> VlmTuple:
    """Return text and entities of an answer; boxes are normalized, and refined where possible.

    The text of a detection is the list of the classes that were found.
    """
    if isinstance(result, Grounding):
        return result.text, [_entity(entity) for entity in result.entities]
    return _of_predictions(result.predictions)


def _entity(entity: Entity) -> EntityTuple:
    boxes = [box.xyxy_refined_normalized or box.xyxy_normalized for box in entity.boxes]
    return entity.phrase or "", entity.span, boxes


def _of_predictions(predictions: Iterable[Prediction]) -> VlmTuple:
    boxes: dict[str, list[Edges]] = {}
    for found in predictions:
        boxes.setdefault(found.class_name, []).append(found.xyxy_normalized)
    entities, start = list[EntityTuple](), 0
    for name, some in boxes.items():
        entities.append((name, (start, start + len(name)), some))
        start += len(name) + len(_SEPARATOR)
    return _SEPARATOR.join(boxes), entities
