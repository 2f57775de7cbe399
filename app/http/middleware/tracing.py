"""Traces the requests that need the model, if the operator has enabled tracing."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.outcomes import Outcome
from app.http.route_table import RouteTable
from app.telemetry.metrics import OutcomeName
from app.telemetry.tracing import Attributes, Tracer

FAILURES: tuple[OutcomeName, ...] = ("deadline", "failed")


class Tracing:
    """Traces each request from its headers to the last byte of its answer.

    The trace continues the sender's `traceparent`; the response names it in `traceresponse`.

    Args:
        app: has to put its `outcome` into the request's state.
        table: has the routes that need a permit.
    """

    def __init__(self, app: ASGIApp, table: RouteTable, tracer: Tracer) -> None:
        self._app, self._table, self._tracer = app, table, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; only requests that need a permit are traced."""
        if not self._table.needs_permit(scope):
            await self._app(scope, receive, send)
            return
        timeline = scope["state"]["timeline"]
        trace = self._tracer.begin(
            f"POST {scope['path']}", Headers(scope=scope), timeline.received_at
        )
        status = 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["traceresponse"] = trace.traceresponse
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        finally:
            # Without an outcome, a middleware rejected the request before its route began.
            outcome = scope["state"].get("outcome", Outcome(name="invalid"))
            is_failure = status >= 500 or outcome.name in FAILURES
            trace.end(timeline, _attributes(scope, outcome, status), is_failure=is_failure)


def _attributes(scope: Scope, outcome: Outcome, status: int) -> Attributes:
    return {
        "http.request.method": "POST",
        "http.route": scope["path"],
        "http.response.status_code": status,
        "kosmos2.request_id": scope["state"]["request_id"],
        "kosmos2.task": outcome.task,
        "kosmos2.outcome": outcome.name,
        "kosmos2.door": outcome.door,
    }
