"""Around every request, before any of its body is read: its id, its limits, its line in the log."""

import re
import uuid
from collections.abc import Callable
from http import HTTPStatus

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import PayloadTooLarge
from app.http.problems import CLIENT_LEFT, INTERNAL_ERROR, problem_response, response_of
from app.logs import get_logger
from app.shared_page import SharedPage

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class RequestContext:
    """Names each request, logs it, and answers what nobody foresaw.

    It puts `request_id` and `received_at` (monotonic seconds) into the request's state, sets
    `X-Request-ID`, and asks clients to leave while the service drains.

    Args:
        app: what comes next.
        page: tells whether the service drains.
        clock: monotonic, seconds.
    """

    def __init__(self, app: ASGIApp, page: SharedPage, clock: Callable[[], float]) -> None:
        self._app, self._page, self._clock = app, page, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other scopes pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received_at = self._clock()
        request_id = _choose_id(Headers(scope=scope).get("x-request-id", ""))
        scope.setdefault("state", {}).update(request_id=request_id, received_at=received_at)
        status: int | None = None

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                if self._page.is_draining:
                    headers["Connection"] = "close"
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_marked)
            except Exception:
                get_logger().exception("request failed")
                if status is None:
                    detail = "the service failed on this request"
                    response = problem_response(INTERNAL_ERROR, detail, request_id)
                    await response(scope, receive, send_marked)
            get_logger().info(
                "request",
                method=scope["method"],
                route=_route(scope),
                status=status or CLIENT_LEFT,
                duration_s=round(self._clock() - received_at, 6),
                key=scope["state"].get("key"),
            )


class BodyLimit:
    """Refuses a body over the limit: by its declared length, else as soon as it is longer.

    Args:
        app: what comes next.
        max_bytes: of a body.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other scopes pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        num_bytes, is_complete = 0, False

        async def receive_counted() -> Message:
            nonlocal num_bytes, is_complete
            message = await receive()
            if message["type"] == "http.request":
                num_bytes += len(message.get("body", b""))
                is_complete = not message.get("more_body", False)
                if num_bytes > self._max_bytes:
                    raise self._refusal()
            else:
                is_complete = True
            return message

        if _declared_length(scope) > self._max_bytes:
            response = response_of(self._refusal(), scope["state"]["request_id"])
            await response(scope, receive, send)
        else:
            await self._app(scope, receive_counted, send)
        await self._discard_rest(receive, is_complete)

    def _refusal(self) -> PayloadTooLarge:
        return PayloadTooLarge(f"the body may have at most {self._max_bytes:,} bytes")

    async def _discard_rest(self, receive: Receive, is_complete: bool) -> None:
        """Read what little may still come: many clients look for the answer only after sending."""
        num_bytes = 0
        while not is_complete and num_bytes <= self._max_bytes:
            message = await receive()
            num_bytes += len(message.get("body", b""))
            is_complete = not message.get("more_body", False)


def _choose_id(asked: str) -> str:
    return asked if _REQUEST_ID.fullmatch(asked) else uuid.uuid4().hex


def _declared_length(scope: Scope) -> int:
    declared = Headers(scope=scope).get("content-length", "")
    return int(declared) if declared.isdecimal() else 0


def _route(scope: Scope) -> str:
    """The route's pattern: a path that matches none may hold anything."""
    route = scope.get("route")
    return getattr(route, "path", HTTPStatus.NOT_FOUND.phrase)
