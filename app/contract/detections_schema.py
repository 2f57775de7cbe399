"""The JSON that a chat can answer with: detections, and the schemas that select it."""

from collections.abc import Iterator
from typing import Any, Self

from pydantic import BaseModel, Field

from app.contract.fields import Score, Share
from app.errors import InvalidRequest
from app.grounding.answers import AnswerBox, GroundedText

UNSUPPORTED = "unsupported_response_format"
_FIELD = "response_format"
# Generators of schemas differ in these; they do not change which JSON is valid for our answers.
_REMARKS = {"title", "description", "additionalProperties", "$schema", "strict", "examples"}
_BOUNDS = {"minimum", "maximum", "minItems", "maxItems"}
# References can repeat others, so that a short schema has billions of nodes; ours has 28.
_MAX_NODES = 100


class ChatDetection(BaseModel):
    """A located phrase, in the form that workflows of Roboflow read."""

    x_min: Share = Field(description="Left edge, as a share of the picture's width.")
    y_min: Share = Field(description="Upper edge, as a share of the picture's height.")
    x_max: Share = Field(description="Right edge, as a share of the picture's width.")
    y_max: Share = Field(description="Lower edge, as a share of the picture's height.")
    class_name: str = Field(description="The phrase; empty for a box without one.")
    confidence: Score = Field(description="Expected overlap with the true box, 0…1.")


class ChatDetections(BaseModel):
    """The content of a chat's answer as JSON."""

    detections: list[ChatDetection]

    @classmethod
    def from_grounded(cls, grounded: GroundedText) -> Self:
        """Return all boxes that the model located."""
        return cls(
            detections=[
                _detection(entity.phrase or "", box)
                for entity in grounded.entities
                if not entity.from_prompt
                for box in entity.boxes
            ]
        )


def wants_detections(response_format: dict[str, Any] | None) -> bool:
    """Return whether a request requires JSON instead of text.

    Raises:
        InvalidRequest: it requires JSON that the model cannot write.
    """
    kind = "text" if response_format is None else response_format.get("type")
    if kind == "text":
        return False
    if kind == "json_object":
        return True
    if kind != "json_schema" or response_format is None:
        message = "must be text, json_object or json_schema"
        raise InvalidRequest(f"{_FIELD}.type", message, code=UNSUPPORTED)
    wrapped = response_format.get("json_schema")
    schema = wrapped.get("schema") if isinstance(wrapped, dict) else None
    if schema is not None and not _is_published(schema):
        message = "must be the schema of detections in docs/clients.md: the model obeys no other"
        raise InvalidRequest(f"{_FIELD}.json_schema.schema", message, code=UNSUPPORTED)
    return True


def _detection(phrase: str, box: AnswerBox) -> ChatDetection:
    x0, y0, x1, y1 = box.xyxy_refined_normalized or box.xyxy_normalized
    confidence = box.score if box.confidence is None else box.confidence
    return ChatDetection(
        x_min=x0, y_min=y0, x_max=x1, y_max=y1, class_name=phrase, confidence=confidence or 0.0
    )


def _is_published(schema: Any) -> bool:
    """Return whether a schema is ours, however a generator has written it."""
    try:
        return bool(_plain_schema(schema) == _PUBLISHED)
    except (AttributeError, LookupError, TypeError, ValueError):
        return False  # not a schema


def _plain_schema(schema: Any) -> Any:
    """Return a schema without remarks and bounds, with all references resolved.

    Raises:
        AttributeError, LookupError, TypeError: `schema` is not a schema.
        ValueError: it is larger than ours can be, however it is written.
    """
    return _plain(schema, schema, iter(range(_MAX_NODES)))


def _plain(node: Any, root: Any, nodes: Iterator[int]) -> Any:
    """Return a node of a schema; `nodes` has an item for each node that may still follow."""
    if next(nodes, None) is None:
        raise ValueError("the schema is too large")
    if isinstance(node, list):
        return sorted((_plain(item, root, nodes) for item in node), key=repr)
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _plain(_target(node["$ref"], root), root, nodes)
    ignored = _REMARKS | _BOUNDS | {"$defs", "definitions"}
    # Below `properties` the names are those of fields.
    return {
        name: {field: _plain(value[field], root, nodes) for field in value}
        if name == "properties"
        else _plain(value, root, nodes)
        for name, value in node.items()
        if name not in ignored
    }


def _target(reference: str, root: Any) -> Any:
    for name in reference.removeprefix("#/").split("/"):
        root = root[name]
    return root


_PUBLISHED = _plain_schema(ChatDetections.model_json_schema())
