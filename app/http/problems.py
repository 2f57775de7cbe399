"""The one table: which error is which status, and the problem+json that says so (RFC 9457)."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.contract.response_models import FieldProblem, Problem
from app.errors import (
    ClientLeft,
    DeadlineExceeded,
    EngineFailure,
    HeadersTooLarge,
    ImageTooLarge,
    InvalidImage,
    InvalidRequest,
    Kosmos2Error,
    MalformedBody,
    MalformedRequest,
    NotAcceptable,
    Overloaded,
    PayloadTooLarge,
    RateLimited,
    RequestTimeout,
    Unauthorized,
    Unavailable,
    UnsupportedContentEncoding,
    UnsupportedImageFormat,
    UnsupportedMediaType,
)

CLIENT_LEFT = 499
"""Nginx's name for an answer that nobody waits for; seen in the log alone."""
PROBLEM_JSON = "application/problem+json"


@dataclass(frozen=True)
class ProblemKind:
    """What an error is called on the wire.

    Attributes:
        status: of HTTP.
        code: names it for programs.
    """

    status: HTTPStatus
    code: str


INTERNAL_ERROR = ProblemKind(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error")
INTERNAL_ERROR_DETAIL = "the service failed on this request"
NOT_FOUND = ProblemKind(HTTPStatus.NOT_FOUND, "not_found")

PROBLEMS: Mapping[type[Kosmos2Error], ProblemKind] = MappingProxyType(
    {
        Unauthorized: ProblemKind(HTTPStatus.UNAUTHORIZED, "unauthorized"),
        RateLimited: ProblemKind(HTTPStatus.TOO_MANY_REQUESTS, "rate_limited"),
        MalformedBody: ProblemKind(HTTPStatus.BAD_REQUEST, "malformed_body"),
        NotAcceptable: ProblemKind(HTTPStatus.NOT_ACCEPTABLE, "not_acceptable"),
        MalformedRequest: ProblemKind(HTTPStatus.BAD_REQUEST, "malformed_request"),
        HeadersTooLarge: ProblemKind(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large"
        ),
        RequestTimeout: ProblemKind(HTTPStatus.REQUEST_TIMEOUT, "request_timeout"),
        PayloadTooLarge: ProblemKind(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "payload_too_large"),
        ImageTooLarge: ProblemKind(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "image_too_large"),
        UnsupportedMediaType: ProblemKind(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"
        ),
        UnsupportedContentEncoding: ProblemKind(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_content_encoding"
        ),
        UnsupportedImageFormat: ProblemKind(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_image_format"
        ),
        InvalidRequest: ProblemKind(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request"),
        InvalidImage: ProblemKind(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_image"),
        EngineFailure: ProblemKind(HTTPStatus.INTERNAL_SERVER_ERROR, "engine_failure"),
        Overloaded: ProblemKind(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded"),
        Unavailable: ProblemKind(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
        DeadlineExceeded: ProblemKind(HTTPStatus.GATEWAY_TIMEOUT, "deadline_exceeded"),
    }
)

# What the framework itself raises.
_FRAMEWORK_CODES = MappingProxyType(
    {
        HTTPStatus.BAD_REQUEST: "malformed_body",
        HTTPStatus.NOT_FOUND: NOT_FOUND.code,
        HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    }
)


def problem_of(error: Kosmos2Error, request_id: str) -> Problem:
    """What one of our errors is on the wire."""
    errors = None
    if isinstance(error, InvalidRequest):
        errors = [FieldProblem.from_error(field_error) for field_error in error.errors]
    kind = PROBLEMS.get(type(error), INTERNAL_ERROR)
    return problem_of_kind(kind, str(error), request_id, errors)


def problem_response(
    kind: ProblemKind, detail: str, request_id: str, headers: Mapping[str, str] | None = None
) -> Response:
    """An error that is none of ours, as it goes out."""
    return _response(problem_of_kind(kind, detail, request_id), headers)


def response_of(error: Kosmos2Error, request_id: str) -> Response:
    """The response that one of our errors becomes."""
    headers = {}
    if isinstance(error, Overloaded | RateLimited | Unavailable):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, UnsupportedContentEncoding):
        headers["Accept-Encoding"] = "identity"
    if isinstance(error, RequestTimeout):
        headers["Connection"] = "close"
    return _response(problem_of(error, request_id), headers)


def problem_of_kind(
    kind: ProblemKind, detail: str, request_id: str, errors: list[FieldProblem] | None = None
) -> Problem:
    """What an error that is none of ours is on the wire."""
    return Problem(
        title=kind.status.phrase,
        status=kind.status,
        detail=detail,
        code=kind.code,
        request_id=request_id,
        errors=errors,
    )


def _response(problem: Problem, headers: Mapping[str, str] | None) -> Response:
    content = problem.model_dump_json(exclude_none=True)
    return Response(content, problem.status, dict(headers or {}), media_type=PROBLEM_JSON)


async def handle_our_error(request: Request, error: Exception) -> Response:
    """FastAPI's handler for everything in `app.errors`."""
    if not isinstance(error, Kosmos2Error):
        raise error
    if isinstance(error, ClientLeft):
        return Response(status_code=CLIENT_LEFT)
    return response_of(error, request.state.request_id)


async def handle_framework_error(request: Request, error: Exception) -> Response:
    """FastAPI's handler for what the framework raises: no such path or method, a broken body."""
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    kind = ProblemKind(status, _FRAMEWORK_CODES.get(status, INTERNAL_ERROR.code))
    return problem_response(kind, error.detail, request.state.request_id, headers=error.headers)
