"""The route for chats in the form of OpenAI's clients: `POST /v1/chat/completions`."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from app.contract.chat_answers import (
    ChatChoice,
    ChatCompletion,
    ChatMessage,
    ChatUsage,
    Logprobs,
    content_of,
    grounding_of,
)
from app.contract.chat_messages import read_question
from app.contract.chat_models import PASSED_ON, ChatBody
from app.contract.request_models import GroundBody
from app.contract.sent_fields import rename_fields
from app.contract.validation import validate
from app.grounding.answers import Answer
from app.http.bodies import JSON, read_json_fields
from app.http.call_context import with_priority
from app.http.calls import Call, Calls
from app.http.connection import Lifetime, while_connected
from app.http.events import EVENT_STREAM, respond_with_events
from app.http.json_bodies import decode_data_uri
from app.http.openapi import SECURITY, door_error_responses, inline_schema
from app.http.routes.openai.chunks import ChunkWriter
from app.service import Service

_STREAM = {
    EVENT_STREAM: {
        "schema": {
            "type": "string",
            "description": "Chunks as OpenAI's clients read them. The last one before the usage "
            "has `delta.grounding`; `data: [DONE]` ends the stream.",
        }
    }
}


def chat_router(
    service: Service, calls: Calls, model: str, unix_time: Callable[[], float]
) -> APIRouter:
    """Return a router with `POST /v1/chat/completions`.

    Args:
        model: the name in the answers.
        unix_time: seconds since 1970.
    """
    router = APIRouter(prefix="/v1", tags=["compatibility"])

    @router.post(
        "/chat/completions",
        summary="Answer a chat about a picture, in the form of OpenAI's clients.",
        response_model=ChatCompletion,
        responses={
            200: {"content": _STREAM},
            **door_error_responses("openai"),
        },
        openapi_extra={
            "requestBody": {"required": True, "content": {JSON: {"schema": _schema()}}},
            "security": SECURITY,
        },
    )
    async def complete(request: Request, lifetime: Lifetime) -> Response:
        call = calls.begin(request, lifetime)
        body = validate(ChatBody, await read_json_fields(call.paced), strict=False)
        return await _answer(call, service, body, model, int(unix_time()))

    return router


async def _answer(
    call: Call, service: Service, body: ChatBody, model: str, created: int
) -> Response:
    question, as_detections = read_question(body.messages), body.wants_detections
    with rename_fields(body.sent_fields(question)):
        ground_body = body.to_ground_body(question)
        call.outcome.task = ground_body.task
        image = decode_data_uri(question.image.field, question.image.uri)
        sent = replace(ground_body.to_request(image), stop=body.stops, shortens_answer=True)
        context = with_priority(call.context, call.request, ground_body.priority)
        work = partial(service.ground, sent, context)
        if body.stream:
            writer = _chunk_writer(body, context.request_id, model, created)
            return await respond_with_events(call, work, writer.forms())
        answer = await while_connected(call.request, work())
    call.outcome.complete(answer.grounded.finish_reason)
    completion = _completion(answer, created, body, as_detections=as_detections)
    return Response(completion.model_dump_json(), media_type=JSON)


def _chunk_writer(body: ChatBody, request_id: str, model: str, created: int) -> ChunkWriter:
    return ChunkWriter(
        id=_id_of(request_id),
        created=created,
        model=model,
        as_detections=body.wants_detections,
        has_logprobs=bool(body.logprobs),
        has_usage=body.wants_usage,
    )


def _completion(
    answer: Answer, created: int, body: ChatBody, *, as_detections: bool
) -> ChatCompletion:
    message = ChatMessage(
        content=content_of(answer, as_detections=as_detections),
        grounding=grounding_of(answer, as_detections=as_detections),
    )
    choice = ChatChoice(
        message=message,
        logprobs=Logprobs.from_answer(answer) if body.logprobs else None,
        finish_reason=answer.grounded.finish_reason,
    )
    return ChatCompletion(
        id=_id_of(answer.id),
        created=created,
        model=answer.model,
        choices=[choice],
        usage=ChatUsage.from_usage(answer.usage),
    )


def _id_of(request_id: str) -> str:
    return f"chatcmpl-{request_id}"


def _schema() -> dict[str, Any]:
    """Return the schema of the body, with the fields that mean the same as in `/v1/ground`."""
    schema, ours = inline_schema(ChatBody), inline_schema(GroundBody)["properties"]
    schema["properties"] |= {name: ours[name] for name in PASSED_ON}
    # OpenAI's seeds may be negative.
    seed = {"type": "integer", "format": "int64"}
    schema["properties"]["seed"] |= {"anyOf": [seed, {"type": "null"}]}
    schema["properties"]["task"]["description"] += (
        " Default: `raw` for a text with tags, `grounded_vqa` for any other text, `brief_caption` "
        "without text."
    )
    return schema
