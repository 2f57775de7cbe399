"""The native route: `POST /v1/ground`."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from app.errors import BodyTimeout, ClientLeft
from app.http.accept import preferred
from app.http.connection import Lifetime, while_connected
from app.http.events import EVENT_STREAM, describe_events, respond_with_events
from app.http.forms import parse_form, read_form
from app.http.problems import PROBLEM_JSON
from app.http.schemas import AnswerBody, GroundBody, Problem
from app.metrics import HttpMetrics
from app.outcomes import counted
from app.service import Service
from app.settings import Settings


def ground_router(
    settings: Settings, service: Service, metrics: HttpMetrics, clock: Callable[[], float]
) -> APIRouter:
    """The route.

    Args:
        settings: how long a body may take.
        service: answers.
        metrics: what is counted.
        clock: monotonic, seconds.
    """
    router = APIRouter(prefix="/v1", tags=["grounding"])

    @router.post(
        "/ground",
        summary="A picture and a task in, grounded text with boxes out.",
        response_model=AnswerBody,
        responses={200: {"content": describe_events()}, **_PROBLEMS},
        openapi_extra={"requestBody": _request_body()},
    )
    async def ground(request: Request, lifetime: Lifetime) -> Response:
        received_at: float = request.state.received_at
        outcome = lifetime.enter_context(counted(metrics, received_at, clock))
        remaining_s = received_at + settings.body_timeout_s - clock()
        try:
            async with asyncio.timeout(remaining_s):
                form = await read_form(request)
        except TimeoutError:
            limit = f"{settings.body_timeout_s:g} s"
            raise BodyTimeout(f"the body was not complete within {limit}") from None
        except ClientDisconnect:
            raise ClientLeft from None
        image, body = await parse_form(form)
        await form.close()
        outcome.task = body.task
        work = partial(
            service.ground,
            body.to_request(image),
            request_id=request.state.request_id,
            received_at=received_at,
        )
        if _wants_events(request, body):
            return await respond_with_events(request, work, outcome, lifetime)
        answer = await while_connected(request, work())
        outcome.complete(answer.grounded.finish_reason)
        content = AnswerBody.from_answer(answer).model_dump_json()
        return Response(content, media_type="application/json")

    return router


def _wants_events(request: Request, body: GroundBody) -> bool:
    if "stream" in body.model_fields_set:
        return body.stream
    accept = ", ".join(request.headers.getlist("accept"))
    return preferred(accept, ("application/json", EVENT_STREAM)) == EVENT_STREAM


_PROBLEM: dict[str, Any] = {
    "model": Problem,
    "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_PROBLEMS: dict[int | str, dict[str, Any]] = dict.fromkeys(
    (400, 408, 413, 415, 422, 500, 503, 504), _PROBLEM
)


def _request_body() -> dict[str, Any]:
    schema = GroundBody.model_json_schema(ref_template="#/components/schemas/{model}")
    image = {"type": "string", "format": "binary", "description": "The picture's file."}
    properties = {"image": image, **schema["properties"]}
    regions = schema["$defs"]["RegionBody"]
    properties["regions"] = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"type": "array", "items": regions, "maxItems": 16},
        "description": properties["regions"]["description"] + " One JSON string.",
    }
    body = {"type": "object", "properties": properties, "required": ["image", "task"]}
    return {"required": True, "content": {"multipart/form-data": {"schema": body}}}
