"""The route that finds the objects of given classes: `POST /v1/detect`."""

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from app.contract.detect_models import ClassEvent, DetectBody, DetectionsBody
from app.contract.examples import DETECT_EXAMPLES
from app.detect.predictions import ClassResult, Detections
from app.http.bodies import JSON, read_request
from app.http.body_pace import with_body_pace
from app.http.call_context import context_of, with_priority
from app.http.connection import Lifetime, while_connected
from app.http.events import EventForms, describe_events, respond_with_events, wants_events
from app.http.openapi import PROBLEM_RESPONSES, SECURITY, request_body
from app.http.outcomes import count_request
from app.ipc.engine_messages import FinishReason
from app.service import Service
from app.settings import Settings
from app.telemetry.metrics import HttpMetrics

DETECT = "detect"
"""Label of the task in metrics."""

_ORDER = (
    "One `class` event per class as soon as its predictions are final; if boxes of different "
    "classes suppress each other, all at the end."
)


def _class_event(result: ClassResult) -> tuple[str, dict[str, Any]]:
    return "class", ClassEvent.from_result(result).model_dump(mode="json", by_alias=True)


def _whole(detections: Detections) -> dict[str, Any]:
    return DetectionsBody.from_detections(detections).to_json()


def _finish_reason(_: Detections) -> FinishReason:
    return "stop"


DETECT_EVENTS = EventForms(_class_event, _whole, _finish_reason)


def detect_router(
    settings: Settings, service: Service, metrics: HttpMetrics, clock: Callable[[], float]
) -> APIRouter:
    """Return a router with `POST /v1/detect`."""
    router = APIRouter(prefix="/v1", tags=["grounding"])

    @router.post(
        "/detect",
        summary="Return boxes and confidences for a list of classes.",
        response_model=DetectionsBody,
        responses={
            200: {"content": describe_events({"class": ClassEvent}, DetectionsBody, _ORDER)},
            **PROBLEM_RESPONSES,
        },
        openapi_extra={
            "requestBody": request_body(DetectBody, DETECT_EXAMPLES),
            "security": SECURITY,
        },
    )
    async def detect(request: Request, lifetime: Lifetime) -> Response:
        received_at = request.state.timeline.received_at
        outcome = lifetime.enter_context(count_request(metrics, received_at, clock))
        outcome.task = DETECT
        request.state.outcome = outcome
        context = context_of(request, settings.deadline_s)
        paced = with_body_pace(request, settings.body_timeout_s, context.deadline, clock)
        image, body = await read_request(paced, DetectBody)
        context = with_priority(context, request, body.priority)
        work = partial(service.detect, body.to_request(image), context)
        if wants_events(request, body.stream if "stream" in body.model_fields_set else None):
            return await respond_with_events(request, work, DETECT_EVENTS, outcome, lifetime)
        detections = await while_connected(request, work())
        content = DetectionsBody.from_detections(detections).model_dump_json(by_alias=True)
        return Response(content, media_type=JSON)

    return router
