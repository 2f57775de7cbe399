"""The route that returns answers: `POST /v1/ground`."""

from functools import partial

from fastapi import APIRouter, Request, Response

from app.contract.request_models import GroundBody
from app.contract.response_models import AnswerBody
from app.http.bodies import JSON, read_request
from app.http.call_context import with_priority
from app.http.calls import Call, Calls
from app.http.connection import Lifetime, while_connected
from app.http.events import (
    ANSWER_EVENTS,
    describe_answer_events,
    respond_with_events,
    wants_events,
)
from app.http.openapi import PROBLEM_RESPONSES, SECURITY, request_body
from app.service import Service


def ground_router(service: Service, calls: Calls) -> APIRouter:
    """Return a router with `POST /v1/ground`."""
    router = APIRouter(prefix="/v1", tags=["grounding"])

    @router.post(
        "/ground",
        summary="Return grounded text with boxes for a picture and a task.",
        response_model=AnswerBody,
        responses={200: {"content": describe_answer_events()}, **PROBLEM_RESPONSES},
        openapi_extra={"requestBody": request_body(GroundBody), "security": SECURITY},
    )
    async def ground(request: Request, lifetime: Lifetime) -> Response:
        call = calls.begin(request, lifetime)
        image, body = await read_request(call.paced, GroundBody)
        return await answer_ground(call, service, image, body)

    return router


async def answer_ground(call: Call, service: Service, image: bytes, body: GroundBody) -> Response:
    """Return the answer to a request, as JSON or as a stream."""
    call.outcome.task = body.task
    context = with_priority(call.context, call.request, body.priority)
    work = partial(service.ground, body.to_request(image), context)
    if wants_events(call.request, body.stream if "stream" in body.model_fields_set else None):
        return await respond_with_events(call, work, ANSWER_EVENTS)
    answer = await while_connected(call.request, work())
    call.outcome.complete(answer.grounded.finish_reason)
    return Response(AnswerBody.from_answer(answer).model_dump_json(), media_type=JSON)
