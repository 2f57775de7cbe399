"""Doors, permits and keys follow from the routes."""

import pytest
from fastapi import APIRouter

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
    router.get("/v1/chat/completions")(lambda: None)


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


def test_a_path_that_needs_a_key_for_one_method_needs_it_for_all() -> None:
    """An operator may choose any path for health."""
    assert not table().is_open("/v1/chat/completions")
    opened, closed, both = APIRouter(), APIRouter(), RouteTable()
    opened.get("/a")(lambda: None)
    closed.post("/a")(lambda: None)
    both.add("vertex", opened, is_open=True)
    both.add("kosmos2", closed)
    assert not both.is_open("/a")
    both.open_path("/a")
    assert not both.is_open("/a")
    both.open_path("/b")
    assert both.is_open("/b")


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
