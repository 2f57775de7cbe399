"""Serves health and metrics on a separate port, if the operator has set one."""

from starlette.types import ASGIApp, Receive, Scope, Send

from app.http.problems import NOT_FOUND, problem_response
from app.http.routes.ops import OPS_PATHS


class OpsPort:
    """Answers 404 to operations paths on the main port, and to other paths on the operations port.

    The port is the one that the client connected to, not the one in the `Host` header.

    Args:
        port: serves health and metrics.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app, self._port = app, port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or reject one request; other scopes pass."""
        if scope["type"] == "http":
            is_ops_port = scope["server"][1] == self._port
            if is_ops_port != (scope["path"] in OPS_PATHS):
                detail = "this port does not serve the path"
                response = problem_response(NOT_FOUND, detail, scope["state"]["request_id"])
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)
