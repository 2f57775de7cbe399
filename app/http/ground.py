"""The native route: `POST /v1/ground`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from app.errors import BodyTimeout, ClientLeft
from app.http.forms import parse_form, read_form
from app.http.problems import PROBLEM_JSON
from app.http.schemas import AnswerBody, GroundBody, Problem
from app.metrics import HttpMetrics
from app.outcomes import counted
from app.service import Service
from app.settings import Settings

T = TypeVar("T")
_PROBLEM_STATUSES = (400, 408, 413, 415, 422, 500, 503, 504)


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
        responses=dict.fromkeys(_PROBLEM_STATUSES, _PROBLEM),
        openapi_extra={"requestBody": _request_body()},
    )
    async def ground(request: Request) -> Response:
        received_at: float = request.state.received_at
        with counted(metrics, received_at, clock) as outcome:
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
            answer = await while_connected(
                request,
                service.ground(
                    body.to_request(image),
                    request_id=request.state.request_id,
                    received_at=received_at,
                ),
            )
            if answer.grounded.finish_reason == "length":
                outcome.name = "length"
            content = AnswerBody.from_answer(answer).model_dump_json()
            return Response(content, media_type="application/json")

    return router


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """Wait for `work`; cancel it as soon as the client has left.

    Raises:
        ClientLeft: it has.
    """
    task = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_until_disconnected(request))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientLeft
        return task.result()
    finally:
        for either in (task, leaving):
            either.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)


async def _until_disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


_PROBLEM: dict[str, Any] = {
    "model": Problem,
    "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


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
