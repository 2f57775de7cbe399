"""Maps errors to HTTP statuses and to problem+json responses (RFC 9457)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from types import MappingProxyType

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.contract.response_models import FieldProblem, Problem
from app.errors import (
    ClientDisconnected,
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
    UnknownModel,
    UnsupportedContentEncoding,
    UnsupportedImageFormat,
    UnsupportedMediaType,
)
from app.http.foreign_errors import ERROR_SHAPES

CLIENT_CLOSED_REQUEST = 499
"""Nginx's status for a client that closed its connection; appears only in the log."""
JSON, PROBLEM_JSON = "application/json", "application/problem+json"


@dataclass(frozen=True)
class ProblemKind:
    """The HTTP status of a kind of error, and its code for programs."""

    status: HTTPStatus
    code: str


INTERNAL_ERROR = ProblemKind(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error")
INTERNAL_ERROR_DETAIL = (
    "the service failed on this request; its log has the cause under the request id"
)
NOT_FOUND = ProblemKind(HTTPStatus.NOT_FOUND, "not_found")
NOT_FOUND_DETAIL = "the service has no such path"

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
        UnknownModel: ProblemKind(HTTPStatus.NOT_FOUND, "model_not_found"),
        InvalidImage: ProblemKind(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_image"),
        EngineFailure: ProblemKind(HTTPStatus.INTERNAL_SERVER_ERROR, "engine_failure"),
        Overloaded: ProblemKind(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded"),
        Unavailable: ProblemKind(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
        DeadlineExceeded: ProblemKind(HTTPStatus.GATEWAY_TIMEOUT, "deadline_exceeded"),
    }
)

# Codes of the errors that FastAPI and Starlette raise.
_FRAMEWORK_CODES = MappingProxyType(
    {
        HTTPStatus.BAD_REQUEST: "malformed_body",
        HTTPStatus.NOT_FOUND: NOT_FOUND.code,
        HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    }
)


def problem_of(error: Kosmos2Error, request_id: str) -> Problem:
    """Return the problem of one of our errors."""
    errors = None
    if isinstance(error, InvalidRequest):
        errors = [FieldProblem.from_error(field_error) for field_error in error.errors]
    kind = PROBLEMS.get(type(error), INTERNAL_ERROR)
    if isinstance(error, InvalidRequest) and error.code is not None:
        kind = replace(kind, code=error.code)
    return problem_of_kind(kind, str(error), request_id, errors)


def problem_response(
    kind: ProblemKind, detail: str, request_id: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the response for an error that is not in `app.errors`."""
    return ProblemResponse(problem_of_kind(kind, detail, request_id), headers or {})


def response_of(error: Kosmos2Error, request_id: str) -> Response:
    """Return the response for one of our errors, with the headers that its kind requires."""
    headers = {}
    if isinstance(error, Overloaded | RateLimited | Unavailable):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, UnsupportedContentEncoding):
        headers["Accept-Encoding"] = "identity"
    if isinstance(error, RequestTimeout):
        headers["Connection"] = "close"  # the rest of the request may still arrive
    return ProblemResponse(problem_of(error, request_id), headers)


def problem_of_kind(
    kind: ProblemKind, detail: str, request_id: str, errors: list[FieldProblem] | None = None
) -> Problem:
    """Return the problem of an error that is not in `app.errors`."""
    return Problem(
        title=kind.status.phrase,
        status=kind.status,
        detail=detail,
        code=kind.code,
        request_id=request_id,
        errors=errors,
    )


class ProblemResponse(Response):
    """A problem in the shape that the clients of the request's door read."""

    media_type = PROBLEM_JSON

    def __init__(self, problem: Problem, headers: Mapping[str, str]) -> None:
        super().__init__(problem.model_dump_json(exclude_none=True), problem.status, dict(headers))
        self._problem, self._sent_headers = problem, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        shape = ERROR_SHAPES.get(scope["state"]["door"])
        if shape is None:
            await super().__call__(scope, receive, send)
            return
        status, content = shape.to_response(self._problem)
        response = Response(content, status, dict(self._sent_headers), media_type=JSON)
        await response(scope, receive, send)


async def handle_our_error(request: Request, error: Exception) -> Response:
    """Return the response for an error in `app.errors`; registered with FastAPI."""
    if not isinstance(error, Kosmos2Error):
        raise error
    if isinstance(error, ClientDisconnected):
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    return response_of(error, request.state.request_id)


async def handle_framework_error(request: Request, error: Exception) -> Response:
    """Return the response for the framework's errors: unknown path, wrong method, broken body."""
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    kind = ProblemKind(status, _FRAMEWORK_CODES.get(status, INTERNAL_ERROR.code))
    headers = _allowing_head(error.headers or {})
    detail = _detail_of(status, error.detail, headers)
    return problem_response(kind, detail, request.state.request_id, headers=headers)


def _detail_of(status: HTTPStatus, detail: str, headers: Mapping[str, str]) -> str:
    """Return what is wrong; the framework's own detail may only repeat the title."""
    if status == HTTPStatus.NOT_FOUND:
        return NOT_FOUND_DETAIL
    if status == HTTPStatus.METHOD_NOT_ALLOWED and "Allow" in headers:
        return f"the path accepts only {headers['Allow']}"
    return detail


def _allowing_head(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the headers with `HEAD` in `Allow` where `GET` is: the router knows `GET` alone."""
    allowed = headers.get("Allow", "").split(", ")
    if "GET" not in allowed or "HEAD" in allowed:
        return headers
    return {**headers, "Allow": ", ".join([*allowed, "HEAD"])}
