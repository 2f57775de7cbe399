"""A chat answers with detections as JSON, and refuses every other schema."""

import json
from typing import Any

import pytest

from app.contract.detections_schema import ChatDetections
from tests.http.routes.chats import error_of


def generated_schema(**members: Any) -> dict[str, Any]:
    """Return our schema as OpenAI's client writes it: inlined, closed, without titles."""
    number = {"type": "number"}
    names = ("x_min", "y_min", "x_max", "y_max", "class_name", "confidence")
    fields = dict.fromkeys(names, number) | {"class_name": {"type": "string"}}
    item = {
        "type": "object",
        "properties": fields | members,
        "required": list(names),
        "additionalProperties": False,
    }
    detections = {"type": "array", "items": item}
    return {
        "type": "object",
        "properties": {"detections": detections},
        "required": ["detections"],
    }


def doubling_schema(length: int) -> dict[str, Any]:
    """Return a short schema that has 2^length nodes once its references are resolved."""
    definitions: dict[str, Any] = {f"a{length}": {}}
    for number in range(length):
        following = {"$ref": f"#/$defs/a{number + 1}"}
        definitions[f"a{number}"] = {"not": following, "if": following}
    return {"$ref": "#/$defs/a0", "$defs": definitions}


def json_schema(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "d", "strict": True, "schema": schema}}


@pytest.mark.parametrize(
    "response_format",
    [
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "bare"}},
        json_schema(ChatDetections.model_json_schema()),
        json_schema(generated_schema()),
    ],
)
def test_json_has_the_detections(send_chat: Any, response_format: dict[str, Any]) -> None:
    message = send_chat(response_format=response_format)[0].json()["choices"][0]["message"]
    assert json.loads(message["content"]) == {
        "detections": [
            {
                "x_min": 0.1, "y_min": 0.1, "x_max": 0.5, "y_max": 0.5, "class_name": "a dog",
                "confidence": 0.6,
            }
        ]
    }  # fmt: skip
    assert message["grounding"] is None


@pytest.mark.parametrize(
    "response_format",
    [
        json_schema({"type": "object", "properties": {"name": {"type": "string"}}}),
        json_schema(generated_schema(color={"type": "string"})),
        json_schema({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}),
        json_schema({"$ref": "#/nowhere"}),
        json_schema({"$ref": None}),
        json_schema({"properties": [1]}),
        json_schema({"properties": {"again": {"$ref": "#"}}}),
        json_schema(doubling_schema(40)),
        json_schema("text"),
        {"type": "grammar"},
        {},
    ],
)
def test_other_json_is_refused(send_chat: Any, response_format: dict[str, Any]) -> None:
    response, service = send_chat(response_format=response_format)
    error = error_of(response)
    assert (response.status_code, error["code"]) == (400, "unsupported_response_format")
    assert error["param"].startswith("response_format")
    assert service.requests == []
