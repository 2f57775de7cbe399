"""Gives every request an id and a timeline, and writes its line in the log."""

import logging
import re
import uuid
from collections.abc import Callable, Container

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.events import EVENT_STREAM, internal_error_frame
from app.http.problems import (
    CLIENT_CLOSED_REQUEST,
    INTERNAL_ERROR,
    INTERNAL_ERROR_DETAIL,
    problem_response,
)
from app.http.route_table import RouteTable
from app.http.security_headers import SECURITY_HEADERS
from app.ipc.shared_state import SharedState
from app.telemetry.logs import get_logger
from app.telemetry.timeline import Timeline

# Other ids are replaced: the id appears in logs and in a response header.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class RequestContext:
    """Assigns the request id, logs each request, and answers unexpected exceptions with 500.

    It puts `request_id`, `door` and a new `timeline` into the request's state, and sets
    `X-Request-ID` and the security headers. While the service drains, it sets `Connection: close`,
    so that clients reconnect to another instance.

    Args:
        table: has the door of each path.
        state: has the flag of the drain.
        clock: monotonic, seconds.
        probes: paths whose GET requests are logged at the level debug, because machines send
            them every few seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        table: RouteTable,
        state: SharedState,
        clock: Callable[[], float],
        probes: Container[str | None] = (),
    ) -> None:
        self._app, self._table, self._state, self._clock = app, table, state, clock
        self._probes = probes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other scopes pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received_at = self._clock()
        request_id = _choose_id(Headers(scope=scope).get("x-request-id", ""))
        facts = {
            "request_id": request_id,
            "timeline": Timeline(received_at),
            "door": self._table.door_of(scope["path"]),
        }
        scope.setdefault("state", {}).update(facts)
        exchange = _Exchange(self._state, request_id, receive, send)
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, exchange.receive, exchange.send)
            except Exception:  # the last handler: expected errors have become responses before
                get_logger().exception("request failed")
                await exchange.fail(scope)
            # A POST is no probe, even if an operator names its path as the route of the health.
            is_probe = scope["method"] in ("GET", "HEAD") and scope["path"] in self._probes
            get_logger().log(
                logging.DEBUG if is_probe else logging.INFO,
                "request",
                method=scope["method"],
                route=self._table.name_of(scope["path"]),
                status=exchange.status,
                duration_s=round(self._clock() - received_at, 6),
                key=scope["state"].get("key"),
            )


class _Exchange:
    """Observes the messages of one request and its response."""

    def __init__(self, state: SharedState, request_id: str, receive: Receive, send: Send) -> None:
        self._state, self._request_id = state, request_id
        self._receive, self._send = receive, send
        self._status: int | None = None
        self._is_stream = self._is_complete = self._has_client_left = False

    @property
    def status(self) -> int:
        """The status to log: 499 if the client disconnected before the answer was complete."""
        return (
            CLIENT_CLOSED_REQUEST if self._has_client_left or self._status is None else self._status
        )

    async def receive(self) -> Message:
        """Return the next message of the client."""
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self._is_complete:
            self._has_client_left = True
        return message

    async def send(self, message: Message) -> None:
        """Forward a message, with the headers that all responses have."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self._request_id
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            if self._state.is_draining:
                headers["Connection"] = "close"
            self._is_stream = headers.get("content-type", "").startswith(EVENT_STREAM)
        elif not message.get("more_body", False):
            self._is_complete = True
        await self._send(message)

    async def fail(self, scope: Scope) -> None:
        """Report the failure: as a response, or as the last event of a stream that has begun."""
        if self._status is None:
            response = problem_response(INTERNAL_ERROR, INTERNAL_ERROR_DETAIL, self._request_id)
            await response(scope, self.receive, self.send)
        elif self._is_stream and not self._is_complete:
            frame = internal_error_frame(self._request_id, scope["state"]["door"])
            await self.send({"type": "http.response.body", "body": frame})


def _choose_id(requested: str) -> str:
    return requested if _REQUEST_ID.fullmatch(requested) else uuid.uuid4().hex
