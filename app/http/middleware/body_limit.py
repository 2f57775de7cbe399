"""Limits the size of each body, and the memory for the bodies of all requests together."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Overloaded, PayloadTooLarge
from app.http.outcomes import count_rejection
from app.http.problems import response_of
from app.settings import Settings
from app.telemetry.metrics import HttpMetrics


class BodyLimit:
    """Rejects a body over the limit: by its declared length, or as soon as too many bytes arrived.

    The bodies of all unanswered requests share a second limit, divided among the HTTP processes. It
    counts the bytes that arrived, not the declared lengths: otherwise a client that declares much
    and sends nothing could block the others.
    """

    def __init__(self, app: ASGIApp, settings: Settings, metrics: HttpMetrics) -> None:
        self._app, self._metrics, self._max_bytes = app, metrics, settings.max_body_bytes
        share = settings.max_bodies_bytes // settings.http_workers
        self._max_bytes_together = max(share, settings.max_body_bytes)
        self._num_bytes_together = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or reject one request; other scopes pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        num_bytes = 0

        async def receive_counted() -> Message:
            nonlocal num_bytes
            message = await receive()
            length = len(message.get("body", b""))
            self._check(num_bytes + length, length)
            num_bytes += length
            self._num_bytes_together += length
            return message

        try:
            declared = _declared_length(scope)
            self._check(declared, declared)
        except (Overloaded, PayloadTooLarge) as error:
            count_rejection(self._metrics, error)
            await response_of(error, scope["state"]["request_id"])(scope, receive, send)
            return
        try:
            await self._app(scope, receive_counted, send)
        finally:
            self._num_bytes_together -= num_bytes

    def _check(self, num_bytes: int, num_new: int) -> None:
        """Raise an error if a body is too long, or if its new bytes exceed the shared limit.

        Args:
            num_bytes: length of the body so far.
            num_new: the part of `num_bytes` that the shared count does not include yet.
        """
        if num_bytes > self._max_bytes:
            raise PayloadTooLarge(f"the body may have at most {self._max_bytes:,} bytes")
        if self._num_bytes_together + num_new > self._max_bytes_together:
            raise Overloaded("the memory for request bodies is full; retry later")


def _declared_length(scope: Scope) -> int:
    declared = Headers(scope=scope).get("content-length", "")
    return int(declared) if declared.isdecimal() else 0
