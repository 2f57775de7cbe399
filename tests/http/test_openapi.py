"""The OpenAPI document is committed, complete, and usable by generators of clients."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.errors import HeadersTooLarge, NotAcceptable, StartupError, UnknownModel
from app.http.foreign_errors import ERROR_SHAPES
from app.http.openapi_document import describe
from app.http.problems import PROBLEM_JSON, PROBLEMS
from app.http.routes.roboflow import ROBOFLOW_PATHS
from app.settings import Settings
from app.telemetry.metrics import DoorName

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return describe()


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of an OpenAPI document."""
    if isinstance(node, dict):
        yield node
    for child in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        yield from nodes(child)


def fields(description: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every field of every body and answer."""
    for node in nodes(description):
        yield from node.get("properties", {}).values()


def test_the_committed_document_is_up_to_date(description: dict[str, Any]) -> None:
    """A change of the contract appears in a diff; `make openapi` writes the file."""
    assert json.loads(COMMITTED.read_text()) == json.loads(json.dumps(description))


@pytest.mark.parametrize(
    "settings",
    [
        Settings(predict_route="/v1/detect"),
        Settings(predict_route="/docs"),
        Settings(health_route="/livez"),
        Settings(health_route="/vertex", predict_route="/vertex"),
        Settings(health_route="/readyz", ops_port=8001),
    ],
    ids=str,
)
def test_a_path_of_vertex_that_another_route_has_is_refused(settings: Settings) -> None:
    """The other route would be served: another answer, and no error."""
    with pytest.raises(StartupError, match="another route has the path"):
        describe(settings)


@pytest.mark.parametrize("health", ["/ping", "/readyz"])
def test_the_paths_of_vertex_may_be_those_with_the_same_answers(health: str) -> None:
    settings = Settings(health_route=health, predict_route="/invocations")
    assert describe(settings)["paths"].keys() == describe()["paths"].keys()


def test_every_field_of_both_bodies_has_a_description(description: dict[str, Any]) -> None:
    for path in ("/v1/ground", "/v1/annotate"):
        content = description["paths"][path]["post"]["requestBody"]["content"]
        form, body = (
            content[kind]["schema"] for kind in ("multipart/form-data", "application/json")
        )
        assert form["properties"].keys() == body["properties"].keys()
        for field in (*form["properties"].values(), *body["properties"].values()):
            assert field.get("description")


def test_fixed_length_lists_are_described_without_prefix_items(description: dict[str, Any]) -> None:
    """Generators of mobile clients fail on `prefixItems`."""
    assert not any("prefixItems" in node for node in nodes(description))
    box = description["components"]["schemas"]["BoxBody"]["properties"]
    assert (box["xyxy"]["minItems"], box["xyxy"]["maxItems"]) == (4, 4)
    assert box["xyxy"]["items"] == {"type": "number"}


def test_generators_can_write_the_type_of_every_field(description: dict[str, Any]) -> None:
    """Those of openapi-generator fail on a null without another type, its Go on such a default."""
    for field in fields(description):
        assert field.get("type") != "null"
        assert not {"oneOf", "default"} <= field.keys()


def test_generated_clients_have_seeds_of_64_bits(description: dict[str, Any]) -> None:
    """Without the format, Go, Java and Kotlin cannot read the seed of a sampled answer."""
    seeds = [field for field in fields(description) if field.get("title") == "Seed"]
    assert len(seeds) == 7
    for seed in seeds:
        number, *_ = seed.get("anyOf", [seed])
        assert number["format"] == "int64"


def test_fields_of_forms_are_plain_values(description: dict[str, Any]) -> None:
    """Swagger UI requires a file for a text with a media type, and no text of a form is null."""
    for operations in description["paths"].values():
        for operation in operations.values():
            content = operation.get("requestBody", {}).get("content", {})
            form = content.get("multipart/form-data", {}).get("schema", {})
            for name, field in form.get("properties", {}).items():
                assert field["type"] in {"string", "number", "integer", "boolean"}, name
                assert "contentMediaType" not in field


def test_every_route_with_a_body_describes_the_headers_that_it_reads(
    description: dict[str, Any],
) -> None:
    """openapi-python-client also writes modules that cannot be imported for routes without any."""
    for operations in description["paths"].values():
        for operation in operations.values():
            parameters = operation.get("parameters", [])
            headers = {one["name"] for one in parameters if one["in"] == "header"}
            has_body = "requestBody" in operation
            assert headers == ({"X-Request-Timeout", "X-Request-ID"} if has_body else set())


def test_every_problem_is_described(description: dict[str, Any]) -> None:
    for path in ("/v1/ground", "/v1/annotate"):
        responses = description["paths"][path]["post"]["responses"]
        for kind in (kind for error, kind in PROBLEMS.items() if error is not UnknownModel):
            assert PROBLEM_JSON in responses[str(int(kind.status))]["content"]
            assert "application/json" not in responses[str(int(kind.status))]["content"]


@pytest.mark.parametrize(
    ("path", "model", "door"),
    [
        ("/v1/chat/completions", "OpenAIError", "openai"),
        ("/moondream/caption", "MoondreamError", "moondream"),
        ("/moondream/point", "MoondreamError", "moondream"),
        ("/yolo_world/infer", "RoboflowError", "roboflow"),
        ("/grounding_dino/infer", "RoboflowError", "roboflow"),
    ],
)
def test_a_door_describes_the_errors_that_its_clients_get(
    description: dict[str, Any], path: str, model: str, door: DoorName
) -> None:
    responses = description["paths"][path]["post"]["responses"]
    at_headers, never = HeadersTooLarge, (NotAcceptable, UnknownModel)
    sent = {PROBLEMS[error].status for error in PROBLEMS if error not in (at_headers, *never)}
    shape = {"application/json": {"schema": {"$ref": f"#/components/schemas/{model}"}}}
    expected = {str(ERROR_SHAPES[door].status_of(int(status))): shape for status in sent}
    problem = {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    expected[str(int(PROBLEMS[at_headers].status))] = problem
    described = {status: responses[status]["content"] for status in responses if status != "200"}
    assert described == expected


def test_invocations_describe_both_streams(description: dict[str, Any]) -> None:
    def stream(path: str) -> dict[str, Any]:
        content = description["paths"][path]["post"]["responses"]["200"]["content"]
        schema: dict[str, Any] = content["text/event-stream"]["schema"]
        return schema

    assert stream("/invocations") == {"anyOf": [stream("/v1/ground"), stream("/v1/detect")]}


def test_roboflow_pictures_are_one_or_a_list(description: dict[str, Any]) -> None:
    for path in ROBOFLOW_PATHS:
        content = description["paths"][path]["post"]["requestBody"]["content"]
        one, several = content["application/json"]["schema"]["properties"]["image"]["anyOf"]
        assert (one["type"], several) == ("object", {"type": "array", "items": one})


def test_no_error_of_the_framework_is_described(description: dict[str, Any]) -> None:
    assert "HTTPValidationError" not in json.dumps(description)


def test_every_task_has_an_example(description: dict[str, Any]) -> None:
    content = description["paths"]["/v1/ground"]["post"]["requestBody"]["content"]
    examples = content["application/json"]["examples"]
    tasks = {example["value"]["task"] for example in examples.values()}
    assert tasks == set(content["application/json"]["schema"]["properties"]["task"]["enum"])


def test_every_reference_has_a_target(description: dict[str, Any]) -> None:
    schemas = description["components"]["schemas"]
    for node in nodes(description):
        if isinstance(node.get("$ref"), str):
            assert node["$ref"].rpartition("/")[2] in schemas
