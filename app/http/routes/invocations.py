"""The routes that platforms for containers call: SageMaker's `/invocations`, Vertex AI's predict.

They accept the bodies of `/v1/ground` and `/v1/detect`; the field `classes` selects detection.
"""

from typing import Any

from fastapi import APIRouter, Request, Response

from app.contract.detect_models import DetectBody, DetectionsBody
from app.contract.request_models import GroundBody
from app.contract.response_models import AnswerBody
from app.http.bodies import FORM, JSON, PICTURE, read_sent
from app.http.calls import Calls
from app.http.connection import Lifetime
from app.http.events import EVENT_STREAM, describe_answer_events
from app.http.openapi import PROBLEM_RESPONSES, SECURITY
from app.http.routes.detect import answer_detect, describe_detect_events
from app.http.routes.ground import answer_ground
from app.service import Service

INVOCATIONS, PING = "/invocations", "/ping"
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"

_FIELDS = {
    "type": "object",
    "description": "The body of `POST /v1/detect` if it has `classes`, that of `POST /v1/ground` "
    "otherwise.",
}
_PICTURE = {
    "type": "string",
    "format": "binary",
    "description": f"The picture's file. The header `{ATTRIBUTES}` has the fields as a query "
    "string; without it, the setting `KOSMOS2_INVOCATION_OPTIONS` has them.",
}
_BODY = {FORM: {"schema": _FIELDS}, JSON: {"schema": _FIELDS}, PICTURE: {"schema": _PICTURE}}


def _describe_events() -> dict[str, Any]:
    """Return the streams of both routes for OpenAPI's `content`."""
    streams = (describe_answer_events(), describe_detect_events())
    return {EVENT_STREAM: {"schema": {"anyOf": [one[EVENT_STREAM]["schema"] for one in streams]}}}


def invocations_router(path: str, service: Service, calls: Calls, options: str) -> APIRouter:
    """Return a router with one route.

    Args:
        path: as the platform calls it.
        options: query string with the fields of a picture that is sent without fields.
    """
    router = APIRouter(tags=["compatibility"])

    @router.post(
        path,
        summary="Answer a request of a platform for containers.",
        response_model=AnswerBody | DetectionsBody,
        responses={200: {"content": _describe_events()}, **PROBLEM_RESPONSES},
        openapi_extra={"requestBody": {"required": True, "content": _BODY}, "security": SECURITY},
    )
    async def invoke(request: Request, lifetime: Lifetime) -> Response:
        call = calls.begin(request, lifetime)
        # Platforms pass neither a query nor other headers to the container.
        sent = await read_sent(call.paced, request.headers.get(ATTRIBUTES) or options)
        if "classes" in sent.fields:
            return await answer_detect(call, service, sent.image, sent.fields_as(DetectBody))
        return await answer_ground(call, service, sent.image, sent.fields_as(GroundBody))

    return router
