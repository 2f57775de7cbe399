"""The route that finds the objects of given classes: `POST /v1/detect`."""

from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from app.contract.detect_models import ClassEvent, DetectBody, DetectionsBody
from app.contract.examples import DETECT_EXAMPLES
from app.detect.predictions import ClassResult, Detections
from app.http.bodies import JSON, read_request
from app.http.call_context import with_priority
from app.http.calls import Call, Calls
from app.http.connection import Lifetime, while_connected
from app.http.events import (
    EventForms,
    describe_events,
    event_frame,
    respond_with_events,
    wants_events,
)
from app.http.openapi import PROBLEM_RESPONSES, SECURITY, request_body
from app.ipc.engine_messages import FinishReason
from app.service import Service

DETECT = "detect"
"""Label of the task in metrics."""

_ORDER = (
    "One `class` event per class as soon as its predictions are final; if boxes of different "
    "classes suppress each other, all at the end."
)


def _class_event(result: ClassResult) -> bytes:
    data = ClassEvent.from_result(result).model_dump(mode="json", by_alias=True)
    return event_frame("class", data)


def _whole(detections: Detections) -> bytes:
    return event_frame("done", DetectionsBody.from_detections(detections).to_json())


def _finish_reason(_: Detections) -> FinishReason:
    return "stop"


DETECT_EVENTS = EventForms(_class_event, _whole, _finish_reason)


def describe_detect_events() -> dict[str, Any]:
    """Return the stream of `POST /v1/detect` for OpenAPI's `content`."""
    return describe_events({"class": ClassEvent}, DetectionsBody, _ORDER)


def detect_router(service: Service, calls: Calls) -> APIRouter:
    """Return a router with `POST /v1/detect`."""
    router = APIRouter(prefix="/v1", tags=["grounding"])

    @router.post(
        "/detect",
        summary="Return boxes and confidences for a list of classes.",
        response_model=DetectionsBody,
        responses={
            200: {"content": describe_detect_events()},
            **PROBLEM_RESPONSES,
        },
        openapi_extra={
            "requestBody": request_body(DetectBody, DETECT_EXAMPLES),
            "security": SECURITY,
        },
    )
    async def detect(request: Request, lifetime: Lifetime) -> Response:
        call = calls.begin(request, lifetime)
        call.outcome.task = DETECT
        image, body = await read_request(call.paced, DetectBody)
        return await answer_detect(call, service, image, body)

    return router


async def answer_detect(call: Call, service: Service, image: bytes, body: DetectBody) -> Response:
    """Return the detected objects, as JSON or as a stream."""
    call.outcome.task = DETECT
    context = with_priority(call.context, call.request, body.priority)
    work = partial(service.detect, body.to_request(image), context)
    if wants_events(call.request, body.stream if "stream" in body.model_fields_set else None):
        return await respond_with_events(call, work, DETECT_EVENTS)
    detections = await while_connected(call.request, work())
    content = DetectionsBody.from_detections(detections).model_dump_json(by_alias=True)
    return Response(content, media_type=JSON)
