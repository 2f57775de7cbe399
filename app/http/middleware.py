"""Around every request, before any of its body is read: its id, and its line in the log."""

import re
import uuid
from collections.abc import Callable
from http import HTTPStatus

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.problems import CLIENT_LEFT, INTERNAL_ERROR, problem_response
from app.http.security import SECURITY_HEADERS
from app.logs import get_logger
from app.shared_page import SharedPage

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class RequestContext:
    """Names each request, logs it, and answers what nobody foresaw.

    It puts `request_id` and `received_at` (monotonic seconds) into the request's state, sets
    `X-Request-ID` and the security headers, and asks clients to leave while the service drains.

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
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
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


def _choose_id(asked: str) -> str:
    return asked if _REQUEST_ID.fullmatch(asked) else uuid.uuid4().hex


def _route(scope: Scope) -> str:
    """The route's pattern: a path that matches none may hold anything."""
    route = scope.get("route")
    return getattr(route, "path", HTTPStatus.NOT_FOUND.phrase)
