"""The route that returns an annotated picture: `POST /v1/annotate`."""

import base64
from typing import get_args

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.contract.request_models import AnnotateBody, DrawnBox, DrawnEntity
from app.contract.response_models import AnnotatedAnswerBody, AnnotatedBody, AnswerBody, DrawingBody
from app.errors import NotAcceptable
from app.grounding.answers import Answer
from app.grounding.tasks import TASKS
from app.http.accept import preferred_type
from app.http.bodies import JSON, read_request
from app.http.call_context import with_priority
from app.http.calls import Calls
from app.http.connection import Lifetime, while_connected
from app.http.openapi import PROBLEM_RESPONSES, SECURITY, request_body
from app.pictures.marks import Box, Mark, MediaType
from app.service import Service

PICTURES: tuple[MediaType, ...] = get_args(MediaType)
_ENTITIES = "entities"
"""Label of the task in metrics for requests that bring their own entities."""

_PICTURE_RESPONSES = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in PICTURES}


def annotate_router(service: Service, calls: Calls) -> APIRouter:
    """Return a router with `POST /v1/annotate`."""
    router = APIRouter(prefix="/v1", tags=["grounding"])

    @router.post(
        "/annotate",
        summary="Return the picture with boxes and phrases drawn on it.",
        response_model=AnnotatedAnswerBody | DrawingBody,
        responses={200: {"content": _PICTURE_RESPONSES}, **PROBLEM_RESPONSES},
        openapi_extra={"requestBody": request_body(AnnotateBody), "security": SECURITY},
    )
    async def annotate(request: Request, lifetime: Lifetime) -> Response:
        call = calls.begin(request, lifetime)
        response_type = _response_type(request)
        # JSON contains the picture in the default format.
        media_type = next((kind for kind in PICTURES if kind == response_type), PICTURES[0])
        image, body = await read_request(call.paced, AnnotateBody)
        call.outcome.task = body.task or _ENTITIES
        context = with_priority(call.context, request, body.priority)
        answer = None
        if body.task is not None:
            work = service.annotate(
                body.request_for(TASKS[body.task], image),
                context,
                media_type,
                shows_scores=body.show_scores,
                kind=body.boxes,
            )
            answer, drawn = await while_connected(request, work)
            call.outcome.complete(answer.grounded.finish_reason)
        else:
            marks = [_mark(entity, body) for entity in body.entities or ()]
            drawing = service.draw(image, marks, context, media_type, box_format=body.box_format)
            drawn = await while_connected(request, drawing)
        if response_type != JSON:
            return Response(drawn, media_type=response_type)
        return Response(_inside_json(answer, media_type, drawn), media_type=JSON)

    return router


def _response_type(request: Request) -> str:
    accept = ", ".join(request.headers.getlist("accept"))
    response_type = preferred_type(accept, (*PICTURES, JSON))
    if response_type is None:
        raise NotAcceptable(f"Accept must allow {', '.join(PICTURES)} or {JSON}")
    return response_type


def _mark(entity: DrawnEntity, body: AnnotateBody) -> Mark:
    scores = tuple(box.score for box in entity.boxes) if body.show_scores else ()
    return Mark(entity.phrase, tuple(_drawn_edges(box, body) for box in entity.boxes), scores)


def _drawn_edges(box: DrawnBox, body: AnnotateBody) -> Box:
    is_refined = body.boxes == "refined" and body.box_format == "pixel"
    x0, y0, x1, y1 = (box.xyxy_refined if is_refined else None) or box.xyxy
    return x0, y0, x1, y1


def _inside_json(answer: Answer | None, media_type: str, drawn: bytes) -> str:
    annotated = AnnotatedBody(media_type=media_type, base64=base64.b64encode(drawn).decode())
    body: BaseModel = DrawingBody(annotated=annotated)
    if answer is not None:
        fields = AnswerBody.from_answer(answer).model_dump()
        body = AnnotatedAnswerBody(**fields, annotated=annotated)
    return body.model_dump_json()
