"""Requests as SageMaker and Vertex AI pass them on to a container."""

import base64
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.contract.examples import EXAMPLE_SCENE
from app.http.routes.invocations import ATTRIBUTES
from harness import loopback
from harness.answers import are_same
from harness.service import RunningService, running_service
from tests.clients.matrix import Matrix

SCENE = EXAMPLE_SCENE.read_bytes()
CLASSES = ["red circle", "blue square"]


@pytest.fixture(scope="module")
def vertex() -> Iterator[RunningService]:
    """A service in the environment of Vertex AI."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    route = "/v1/endpoints/7/deployedModels/8"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIP_HTTP_PORT", str(port))
        environment.setenv("AIP_HEALTH_ROUTE", route)
        environment.setenv("AIP_PREDICT_ROUTE", f"{route}:predict")
        with running_service() as running:
            yield running


def invoke(url: str, content: bytes, **headers: str) -> httpx.Response:
    """Send a request as SageMaker does: it keeps only these headers of the client."""
    sent = {"Content-Type": "image/jpeg", "Accept": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return loopback.post(f"{url}/invocations", content=content, headers=sent, timeout=60)


def test_sagemaker_invokes_with_a_bare_picture(
    service: RunningService, expected: Any, matrix: Matrix
) -> None:
    picture = next(path for path in expected if path.name == EXAMPLE_SCENE.name)
    assert are_same(invoke(service.url, picture.read_bytes()).json(), expected[picture])
    attributes = {ATTRIBUTES: "classes=red circle,blue square"}
    found = invoke(service.url, SCENE, **attributes).json()["predictions"]
    assert {one["class"] for one in found} == set(CLASSES)
    assert all(0 < one["confidence"] <= 1 for one in found)
    refused = invoke(service.url, SCENE, **{ATTRIBUTES: "task=dance"})
    assert (refused.status_code, "task: " in refused.json()["detail"]) == (422, True)
    add = matrix.add
    add("SageMaker (imitated)", "", "/invocations", "text, boxes, scores, message of 422")


def test_sagemaker_streams(service: RunningService, expected: Any, matrix: Matrix) -> None:
    """`InvokeEndpointWithResponseStream` passes on the bytes of the answer."""
    stream = invoke(service.url, SCENE, **{ATTRIBUTES: "task=brief_caption&stream=true"})
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert "event: done" in stream.text
    matrix.add("SageMaker (imitated)", "", "/invocations", "text, boxes, scores", streamed=True)


def test_sagemaker_checks_health(service: RunningService, matrix: Matrix) -> None:
    assert loopback.get(f"{service.url}/ping").status_code == 200
    matrix.add("SageMaker (imitated)", "", "/ping", "status")


def test_vertex_ai_chooses_port_and_paths(vertex: RunningService, matrix: Matrix) -> None:
    health = f"{vertex.url}/v1/endpoints/7/deployedModels/8"
    assert loopback.get(health).json() == {"status": "ready"}
    body = {"image": {"base64": base64.b64encode(SCENE).decode()}, "classes": CLASSES}
    found = loopback.post(f"{health}:predict", json=body, timeout=60).json()["predictions"]
    assert {one["class"] for one in found} == set(CLASSES)
    bare = {"Content-Type": "image/jpeg"}
    answer = loopback.post(f"{health}:predict", content=SCENE, headers=bare, timeout=60).json()
    assert len(answer["entities"]) == 2
    refused = loopback.post(f"{health}:predict", json={"classes": ["a"]})
    assert (refused.status_code, "image: " in refused.json()["detail"]) == (422, True)
    asserted = "text, boxes, scores, message of 422"
    matrix.add("Vertex AI (imitated)", "", "rawPredict", asserted)
    matrix.add("Vertex AI (imitated)", "", "health", "status")
