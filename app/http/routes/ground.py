"""The route that returns answers: `POST /v1/ground`."""

from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, Request, Response

from app.contract.request_models import GroundBody
from app.contract.response_models import AnswerBody
from app.http.bodies import JSON, read_request
from app.http.body_pace import with_body_pace
from app.http.call_context import context_of, with_priority
from app.http.connection import Lifetime, while_connected
from app.http.events import (
    ANSWER_EVENTS,
    describe_answer_events,
    respond_with_events,
    wants_events,
)
from app.http.openapi import PROBLEM_RESPONSES, SECURITY, request_body
from app.http.outcomes import count_request
from app.service import Service
from app.settings import Settings
from app.telemetry.metrics import HttpMetrics


def ground_router(
    settings: Settings, service: Service, metrics: HttpMetrics, clock: Callable[[], float]
) -> APIRouter:
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
        received_at = request.state.timeline.received_at
        # The count ends with the last byte of the response, which may be a stream.
        outcome = lifetime.enter_context(count_request(metrics, received_at, clock))
        request.state.outcome = outcome
        context = context_of(request, settings.deadline_s)
        paced = with_body_pace(request, settings.body_timeout_s, context.deadline, clock)
        image, body = await read_request(paced, GroundBody)
        outcome.task = body.task
        context = with_priority(context, request, body.priority)
        work = partial(service.ground, body.to_request(image), context)
        if wants_events(request, body.stream if "stream" in body.model_fields_set else None):
            return await respond_with_events(request, work, ANSWER_EVENTS, outcome, lifetime)
        answer = await while_connected(request, work())
        outcome.complete(answer.grounded.finish_reason)
        content = AnswerBody.from_answer(answer).model_dump_json()
        return Response(content, media_type=JSON)

    return router
