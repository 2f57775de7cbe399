"""Doors, permits and keys follow from the routes."""

import pytest
from fastapi import APIRouter

from app.errors import StartupError
from app.http.route_table import UNKNOWN_ROUTE, RouteTable


def table() -> RouteTable:
    found = RouteTable()
    for door, build in (("openai", add_openai), ("sagemaker", add_sagemaker)):
        router = APIRouter()
        build(router)
        found.add(door, router, is_open=door == "sagemaker")
    return found


def add_openai(router: APIRouter) -> None:
    router.post("/v1/chat/completions")(lambda: None)
    router.get("/v1/models/{name:path}")(lambda name: None)


def add_sagemaker(router: APIRouter) -> None:
    router.get("/ping")(lambda: None)


def scope(method: str, path: str) -> dict[str, str]:
    return {"type": "http", "method": method, "path": path}


def test_a_route_that_answers_post_needs_a_permit() -> None:
    assert table().needs_permit(scope("POST", "/v1/chat/completions"))
    assert not table().needs_permit(scope("GET", "/v1/chat/completions"))
    assert not table().needs_permit(scope("POST", "/ping"))
    assert not table().needs_permit({"type": "lifespan"})


@pytest.mark.parametrize(
    ("path", "door", "name"),
    [
        ("/v1/chat/completions", "openai", "/v1/chat/completions"),
        ("/v1/models/a/b", "openai", "/v1/models/{name:path}"),
        ("/v1/models/a\nb", "openai", "/v1/models/{name:path}"),
        ("/ping", "sagemaker", "/ping"),
        ("/v1/models", "kosmos2", UNKNOWN_ROUTE),
        ("/v1/responses", "openai", UNKNOWN_ROUTE),
        ("/nowhere", "kosmos2", UNKNOWN_ROUTE),
    ],
)
def test_a_path_has_the_door_of_its_first_route(path: str, door: str, name: str) -> None:
    assert (table().door_of(path), table().name_of(path)) == (door, name)


@pytest.mark.parametrize("path", ["/v1/models/a", "/ping/", "//ping", "/PING", "/nowhere"])
def test_only_exact_open_paths_need_no_key(path: str) -> None:
    assert table().is_open("/ping")
    assert not table().is_open(path)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/ping"), ("GET", "/ping"), ("GET", "/v1/chat/completions"), ("GET", "/v1/models/a")],
)
def test_a_path_with_a_route_gets_no_second_one(method: str, path: str) -> None:
    """Only the first one would be served, and only one of them could decide about the key."""
    router, found = APIRouter(), table()
    router.add_api_route(path, lambda: None, methods=[method])
    with pytest.raises(StartupError, match=f"the path {path};"):
        found.add("vertex", router)


def test_a_route_that_runs_the_model_may_have_a_path_of_a_pattern_that_only_answers_get() -> None:
    """Servers of TensorFlow models have such paths, which Vertex AI may call."""
    router, found = APIRouter(), table()
    router.post("/v1/models/a:predict")(lambda: None)
    found.add("vertex", router)
    assert found.needs_permit(scope("POST", "/v1/models/a:predict"))


def test_a_route_that_runs_the_model_cannot_be_open() -> None:
    router = APIRouter()
    router.post("/a")(lambda: None)
    with pytest.raises(ValueError, match="runs the model"):
        RouteTable().add("vertex", router, is_open=True)


@pytest.mark.parametrize(("method", "is_open"), [("POST", False), ("GET", True)])
def test_a_route_with_parameters_neither_runs_the_model_nor_is_open(
    method: str, is_open: bool
) -> None:
    """Its paths could not be compared exactly."""
    router = APIRouter()
    router.add_api_route("/a/{name}", lambda name: None, methods=[method])
    with pytest.raises(ValueError, match="parameters"):
        RouteTable().add("kosmos2", router, is_open=is_open)
