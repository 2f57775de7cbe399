"""A full service rejects requests at their headers: plain ASGI calls, real shared memory."""

import asyncio
import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fastapi import APIRouter
from prometheus_client import CollectorRegistry
from starlette.types import Message, Receive, Scope, Send

from app.http.middleware.admission import AdmissionCheck
from app.http.route_table import RouteTable
from app.ipc.admission import Admission
from app.ipc.shared_state import EngineFacts, SharedState
from app.telemetry.metrics import HttpMetrics
from app.telemetry.timeline import Timeline

FACTS = EngineFacts(num_slots=1, max_waiting=1, device="cpu", dtype="float32")


def table() -> RouteTable:
    """Return the table of two routes with one path each: one for `POST`, one for `GET`."""
    router = APIRouter()
    router.post("/v1/ground")(lambda: None)
    router.get("/v1/tasks")(lambda: None)
    found = RouteTable()
    found.add("kosmos2", router)
    return found


class AnsweringApp:
    """Answers everything with 200."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@dataclass
class Bench:
    """The middleware in front of an application, and the metrics that it counts."""

    state: SharedState
    admission: Admission
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        metrics = HttpMetrics(self.registry)
        self._app = AdmissionCheck(
            AnsweringApp(), table(), self.admission, metrics, clock=lambda: 2.0
        )

    def call(self, path: str = "/v1/ground", method: str = "POST") -> list[Message]:
        """Return the messages sent to a request whose body must not be read."""
        state = {"request_id": "id", "timeline": Timeline(1.0), "door": "kosmos2"}
        sent: list[Message] = []

        async def receive() -> Message:
            raise AssertionError("the middleware read the body")

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": [], "state": state}
        asyncio.run(self._app(scope, receive, send))
        return sent

    def count(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"kosmos2_{name}", labels)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A service with capacity for two requests, both free."""
    state = SharedState(tmp_path / "state")
    state.mark_engine_ready(FACTS)
    return Bench(state, Admission(state, 0, lambda: 0.0))


def test_a_request_is_rejected_before_its_body_while_no_permit_is_free(bench: Bench) -> None:
    with ExitStack() as permits:
        for _ in range(2):
            permits.enter_context(bench.admission.permit())
        start, body = bench.call()
    assert start["status"] == 503
    assert (b"retry-after", b"1") in start["headers"]
    assert json.loads(body["body"])["code"] == "overloaded"
    assert bench.call()[0]["status"] == 200


def test_the_check_acquires_no_permit(bench: Bench) -> None:
    """Otherwise a slow sender would hold a permit while its body arrives."""
    assert bench.call()[0]["status"] == 200
    assert bench.state.num_permits_taken == 0
    with bench.admission.permit():
        assert bench.call()[0]["status"] == 200


def test_a_request_that_needs_no_permit_passes(bench: Bench) -> None:
    with bench.admission.permit(), bench.admission.permit():
        assert bench.call("/v1/tasks", "GET")[0]["status"] == 200
        assert bench.call("/v1/ground", "GET")[0]["status"] == 200


def test_a_request_is_rejected_before_its_body_while_no_engine_is_expected(
    bench: Bench,
) -> None:
    bench.state.mark_engine_stopped(due_at_s=6.5, is_returning=False)
    start, body = bench.call()
    assert (start["status"], json.loads(body["body"])["code"]) == (503, "unavailable")
    assert (b"retry-after", b"7") in start["headers"]


def test_a_rejected_request_is_counted_once(bench: Bench) -> None:
    """Its task is unknown, because the body was not read."""
    with bench.admission.permit(), bench.admission.permit():
        bench.call()
    assert bench.count("requests_total", task="unknown", outcome="rejected", door="kosmos2") == 1
    assert bench.count("admission_rejections_total", reason="overloaded") == 1
    assert bench.count("e2e_request_latency_seconds_sum", task="unknown") == 1.0
