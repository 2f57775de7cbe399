"""Routes for Moondream's clients, under `/moondream`: caption, query, detect and point."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.contract.chat_answers import ChatGrounding
from app.contract.moondream_models import (
    CaptionAnswer,
    CaptionBody,
    ObjectBody,
    ObjectBox,
    ObjectPoint,
    ObjectsAnswer,
    PointsAnswer,
    QueryAnswer,
    QueryBody,
)
from app.contract.sent_fields import rename_fields
from app.contract.validation import validate
from app.detect.predictions import Detections
from app.grounding.answers import Answer, AnswerEvent, NewText
from app.http.bodies import JSON, read_json_fields
from app.http.call_context import with_priority
from app.http.calls import Call, Calls
from app.http.connection import Lifetime, while_connected
from app.http.events import EVENT_STREAM, EventForms, event_frame, respond_with_events
from app.http.json_bodies import decode_data_uri
from app.http.openapi import SECURITY, door_error_responses, inline_schema
from app.http.routes.detect import DETECT
from app.service import Service

_IMAGE = "image_url"
_STREAM = {
    EVENT_STREAM: {
        "schema": {
            "type": "string",
            "description": 'The text as events `{"chunk": …}`, then `{"completed": true}`.',
        }
    }
}


def moondream_router(service: Service, calls: Calls) -> APIRouter:
    """Return a router with the four routes."""
    router = APIRouter(prefix="/moondream", tags=["compatibility"])

    async def caption(request: Request, lifetime: Lifetime) -> Response:
        call = calls.begin(request, lifetime)
        body = validate(CaptionBody, await read_json_fields(call.paced), strict=False)
        return await _answer_text(call, service, body, _caption)

    async def query(request: Request, lifetime: Lifetime) -> Response:
        call = calls.begin(request, lifetime)
        body = validate(QueryBody, await read_json_fields(call.paced), strict=False)
        return await _answer_text(call, service, body, _query)

    async def detect(request: Request, lifetime: Lifetime) -> Response:
        found = await _detect(calls.begin(request, lifetime), service)
        objects = [ObjectBox.from_prediction(one) for one in found.predictions]
        return _response(ObjectsAnswer(request_id=found.id, objects=objects))

    async def point(request: Request, lifetime: Lifetime) -> Response:
        found = await _detect(calls.begin(request, lifetime), service)
        points = [ObjectPoint.from_prediction(one) for one in found.predictions]
        return _response(PointsAnswer(request_id=found.id, points=points))

    _add(router, "/caption", "Describe a picture", CaptionBody, CaptionAnswer, streams=True)(
        caption
    )
    _add(router, "/query", "Answer a question", QueryBody, QueryAnswer, streams=True)(query)
    _add(router, "/detect", "Return the boxes of an object", ObjectBody, ObjectsAnswer)(detect)
    _add(router, "/point", "Return the centres of an object", ObjectBody, PointsAnswer)(point)
    return router


def _add(
    router: APIRouter,
    path: str,
    summary: str,
    body: type[BaseModel],
    answer: type[BaseModel],
    *,
    streams: bool = False,
) -> Callable[[Callable[..., Any]], Any]:
    """Return the decorator of a route with its documentation."""
    return router.post(
        path,
        summary=f"{summary}, in the form of Moondream's clients.",
        response_model=answer,
        responses={
            **({200: {"content": _STREAM}} if streams else {}),
            **door_error_responses("moondream"),
        },
        openapi_extra={
            "requestBody": {"required": True, "content": {JSON: {"schema": inline_schema(body)}}},
            "security": [*SECURITY, {"moondream": []}],
        },
    )


async def _answer_text(
    call: Call,
    service: Service,
    body: CaptionBody | QueryBody,
    to_body: Callable[[Answer], BaseModel],
) -> Response:
    with rename_fields(body.SENT_FIELDS):
        ground_body = body.to_ground_body()
        call.outcome.task = ground_body.task
        image = decode_data_uri(_IMAGE, body.image_url)
        ground_request = replace(ground_body.to_request(image), shortens_answer=True)
        context = with_priority(call.context, call.request, None)
        work = partial(service.ground, ground_request, context)
        if body.stream:
            return await respond_with_events(call, work, _EVENTS)
        answer = await while_connected(call.request, work())
    call.outcome.complete(answer.grounded.finish_reason)
    return _response(to_body(answer))


async def _detect(call: Call, service: Service) -> Detections:
    call.outcome.task = DETECT
    body = validate(ObjectBody, await read_json_fields(call.paced), strict=False)
    with rename_fields(body.SENT_FIELDS):
        request = body.to_detect_body().to_request(decode_data_uri(_IMAGE, body.image_url))
        context = with_priority(call.context, call.request, None)
        return await while_connected(call.request, service.detect(request, context))


def _caption(answer: Answer) -> CaptionAnswer:
    return CaptionAnswer(
        caption=answer.grounded.content,
        request_id=answer.id,
        grounding=ChatGrounding.from_answer(answer),
    )


def _query(answer: Answer) -> QueryAnswer:
    return QueryAnswer(
        answer=answer.grounded.content,
        request_id=answer.id,
        grounding=ChatGrounding.from_answer(answer),
    )


def _response(body: BaseModel) -> Response:
    return Response(body.model_dump_json(), media_type=JSON)


def _part(event: AnswerEvent) -> bytes:
    return event_frame(None, {"chunk": event.text}) if isinstance(event, NewText) else b""


def _done(answer: Answer) -> bytes:
    grounding = ChatGrounding.from_answer(answer).model_dump()
    return event_frame(None, {"completed": True, "grounding": grounding})


_EVENTS = EventForms(_part, _done, lambda answer: answer.grounded.finish_reason)
