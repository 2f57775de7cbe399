"""Serves routers of one door without processes: a service with known answers, called in process."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry

from app.detect.detector import ClassHandler, ignore_class
from app.detect.predictions import Detections
from app.detect.requests import DetectRequest
from app.errors import Kosmos2Error
from app.grounding.answers import Answer, AnswerEvent, NewText
from app.grounding.requests import CallContext, GroundRequest
from app.http.calls import Calls
from app.http.middleware.request_context import RequestContext
from app.http.problems import handle_our_error
from app.http.route_table import RouteTable
from app.ipc.shared_state import SharedState
from app.service import EventHandler, Service, ignore_event
from app.settings import Settings
from app.telemetry.metrics import DoorName, HttpMetrics


class KnownService(Service):
    """Gives known answers instead of running a model.

    Args:
        answer: to every request, after `parts`.
        error: raised in the place of the answer.

    Attributes:
        requests: those received so far.
    """

    def __init__(
        self,
        answer: Answer | None = None,
        detections: Detections | None = None,
        parts: tuple[AnswerEvent, ...] = (),
        error: Exception | None = None,
    ) -> None:
        self._answer, self._detections = answer, detections
        self._parts, self._error = parts, error
        self.requests: list[Any] = []

    def imitate(self, other: "KnownService") -> None:
        """Answer like another service, which receives the requests from now on.

        Building an application takes half a second, so tests share one.
        """
        self.__dict__.update(vars(other))

    async def ground(
        self, request: GroundRequest, context: CallContext, on_event: EventHandler = ignore_event
    ) -> Answer:
        """Report the parts, then return the answer or raise the error."""
        self.requests.append(request)
        answer = self._answer
        assert answer is not None
        text = [NewText(answer.grounded.answer)] if answer.grounded.answer else []
        for part in self._parts or text:
            on_event(part)
        if self._error is not None:
            raise self._error
        return answer

    async def detect(
        self, request: DetectRequest, context: CallContext, on_class: ClassHandler = ignore_class
    ) -> Detections:
        """Return the detections or raise the error."""
        self.requests.append(request)
        if self._error is not None:
            raise self._error
        assert self._detections is not None
        for result in self._detections.classes:
            on_class(result)
        return self._detections


@dataclass
class DoorApp:
    """An application with the routers of one door.

    Attributes:
        build: returns a router for a service.
        folder: for the shared state.
    """

    door: DoorName
    build: Callable[[Service, Calls], APIRouter]
    service: KnownService
    folder: Path
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        app = self._app = FastAPI()
        calls = Calls(Settings(), HttpMetrics(self.registry), lambda: 0.0)
        router, table = self.build(self.service, calls), RouteTable()
        app.include_router(router)
        table.add(self.door, router)
        app.add_exception_handler(Kosmos2Error, handle_our_error)
        state = SharedState(self.folder / "state")
        app.add_middleware(RequestContext, table=table, state=state, clock=lambda: 0.0)

    def send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Return the response to one request."""

        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, **arguments)

        return asyncio.run(call())
