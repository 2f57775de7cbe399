"""Health and metrics on a port of their own, where the operator has set one."""

from starlette.types import ASGIApp, Receive, Scope, Send

from app.http.problems import NOT_FOUND, problem_response
from app.http.routes.ops import OPS_PATHS


class OpsPort:
    """Lets each port answer what it is for; the port is the one that the client connected to.

    Args:
        app: what comes next.
        port: of health and metrics.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app, self._port = app, port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other scopes pass."""
        if scope["type"] == "http":
            is_of_ops = scope["server"][1] == self._port
            if is_of_ops != (scope["path"] in OPS_PATHS):
                detail = NOT_FOUND.status.phrase
                response = problem_response(NOT_FOUND, detail, scope["state"]["request_id"])
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)
