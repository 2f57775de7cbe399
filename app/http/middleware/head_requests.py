"""Answers `HEAD` on every route that answers `GET` (RFC 9110, section 9.1)."""

from starlette.types import ASGIApp, Receive, Scope, Send


class HeadRequests:
    """Routes `HEAD` as `GET`; uvicorn sends the headers of the answer and drops its body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        await self._app({**scope, "method": "GET"}, receive, send)
