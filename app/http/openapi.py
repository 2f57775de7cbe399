"""The parts of the OpenAPI document that FastAPI cannot derive: request bodies and problems."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from app.contract.examples import EMBEDDED_EXAMPLES
from app.contract.response_models import Problem
from app.http.bodies import FORM, JSON, PICTURE
from app.http.foreign_errors import ERROR_SHAPES
from app.http.problems import PROBLEM_JSON
from app.telemetry.metrics import DoorName

_PROBLEM: dict[str, Any] = {
    "model": Problem,
    "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
KEY_RESPONSES: dict[int | str, dict[str, Any]] = dict.fromkeys((401, 429), _PROBLEM)
"""Every problem that any route returns when the service requires keys."""

PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = dict.fromkeys(
    (400, 401, 406, 408, 413, 415, 422, 429, 431, 500, 503, 504), _PROBLEM
)
"""Every problem that a route with a body returns."""

_HEADERS: list[dict[str, Any]] = [
    {
        "name": "X-Request-Timeout",
        "in": "header",
        "required": False,
        "schema": {"type": "number", "exclusiveMinimum": 0},
        "description": "Time limit in seconds; the service's own limit is the largest.",
    },
    {
        "name": "X-Request-ID",
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": "Id of the request in the answer and in logs: 1 to 128 letters, digits, "
        "`.`, `_` or `-`. Instead of any other text, the service chooses an id.",
    },
]
"""Headers that every route with a body reads."""

_FRAMEWORK_ERRORS = ("HTTPValidationError", "ValidationError")  # FastAPI's names

_KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "Required if the operator has set API keys.",
}
_MOONDREAM_KEY = {
    "type": "apiKey",
    "in": "header",
    "name": "X-Moondream-Auth",
    "description": "The same key, as Moondream's clients send it.",
}
ANSWER_EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    f"{number} {example.task}": example.json_fields
    for number, example in enumerate(EMBEDDED_EXAMPLES, start=1)
}
"""Requests for answers, which the documentation offers to try."""

SECURITY: list[dict[str, list[str]]] = [{}, {"key": []}]
"""For routes that require a key if the operator has set keys: no key, or a key."""

_FILE = {"type": "string", "format": "binary", "description": "The picture's file."}
_PICTURE = {
    "type": "string",
    "format": "binary",
    "description": "The picture's file; the query string has the fields, written as in the form. "
    "`application/octet-stream` is accepted as well. The query of other bodies is ignored.",
}
_BASE64 = {
    "type": "object",
    "properties": {"base64": {"type": "string", "description": "Standard alphabet."}},
    "required": ["base64"],
    "additionalProperties": False,
}
_DATA_URI = {"type": "string", "pattern": "^data:", "description": "data:image/…;base64,…"}
_URL = {
    "type": "object",
    "properties": {"url": _DATA_URI},
    "required": ["url"],
    "additionalProperties": False,
}


def request_body(
    model: type[BaseModel], examples: Mapping[str, Mapping[str, Any]] = ANSWER_EXAMPLES
) -> dict[str, Any]:
    """Return OpenAPI's description of a body: a form with a file, JSON, or the picture itself.

    Args:
        model: all fields except the picture.
        examples: those fields as JSON, by title.
    """
    schema = inline_schema(model)
    picture = {"oneOf": [_BASE64, _URL, _DATA_URI], "description": "The picture."}
    return {
        "required": True,
        "content": {
            FORM: {"schema": _with_image(_as_form(schema), _FILE)},
            JSON: {"schema": _with_image(schema, picture), "examples": _with_picture(examples)},
            PICTURE: {"schema": _PICTURE},
        },
    }


def door_error_responses(door: DoorName) -> dict[int | str, dict[str, Any]]:
    """Return every error that a route with a body returns to another project's clients."""
    shape = ERROR_SHAPES[door]
    statuses = (shape.status_of(int(status)) for status in PROBLEM_RESPONSES)
    errors: dict[int | str, dict[str, Any]] = {code: {"model": shape.model} for code in statuses}
    del errors[406]  # these routes ignore `Accept`
    errors[431] = _PROBLEM  # rejected before the path is known, and so the door
    return errors


def complete_description(app: FastAPI) -> None:
    """Add the security schemes and headers, and describe errors as they are sent.

    FastAPI adds JSON to each problem+json, and an error of its own validation to each route with a
    parameter: a path, which is any text here.
    """
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        description = generate()
        description["components"]["securitySchemes"] = {
            "key": _KEY,
            "moondream": _MOONDREAM_KEY,
        }
        for name in _FRAMEWORK_ERRORS:
            description["components"]["schemas"].pop(name, None)
        for operations in description["paths"].values():
            for operation in operations.values():
                operation["responses"] = _sent_responses(operation["responses"])
                if "requestBody" in operation:
                    operation["parameters"] = _HEADERS
        return description

    app.openapi = openapi  # type: ignore[method-assign]


def _sent_responses(responses: dict[str, Any]) -> dict[str, Any]:
    """Return the responses without those that FastAPI adds and no route sends."""
    for response in responses.values():
        if PROBLEM_JSON in response.get("content", ()):
            response["content"].pop(JSON, None)
    framework_error = {"$ref": f"#/components/schemas/{_FRAMEWORK_ERRORS[0]}"}
    return {
        status: response
        for status, response in responses.items()
        if response.get("content", {}).get(JSON, {}).get("schema") != framework_error
    }


def _with_picture(examples: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    picture = {"base64": "…"}
    return {title: {"value": {"image": picture, **fields}} for title, fields in examples.items()}


def inline_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a model with all references replaced by their definitions."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, list):
            return [resolve(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return resolve(definitions[node["$ref"].rpartition("/")[2]])
        return {name: resolve(value) for name, value in node.items()}

    resolved: dict[str, Any] = resolve(schema)
    return resolved


def _with_image(schema: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    return schema | {
        "properties": {"image": image} | schema["properties"],
        "required": ["image", *schema.get("required", ())],
    }


def _as_form(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the form: all values are texts, lists and objects hold JSON."""
    properties = {name: _as_text(field) for name, field in schema["properties"].items()}
    return schema | {"properties": properties}


def _as_text(field: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field of the form, in which no text stands for null.

    A list or an object is described as text only: Swagger UI shows a chooser of files for a text
    with a media type.
    """
    options = field.get("anyOf") or field.get("oneOf") or [field]
    kinds: list[dict[str, Any]] = [option for option in options if option["type"] != "null"]
    facts = {name: value for name, value in field.items() if name not in ("anyOf", "oneOf")}
    if any(kind["type"] in ("array", "object") for kind in kinds):
        return {
            "type": "string",
            "description": f"{field['description']} Sent as one JSON string.",
        }
    [kind] = kinds
    return kind | facts
