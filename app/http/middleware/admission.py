"""Rejects requests before their bodies are read while the service is full."""

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import ServiceError
from app.http.outcomes import Outcome, record_outcome
from app.http.problems import response_of
from app.http.route_table import RouteTable
from app.ipc.admission import Admission
from app.telemetry.metrics import HttpMetrics
from app.telemetry.timeline import Timeline


class AdmissionCheck:
    """Rejects requests at their headers while no permit is free.

    The check acquires no permit: the service acquires one after the body is complete, so that a
    slow sender holds none. Another request may have acquired the last permit by then.

    Args:
        table: has the routes that need a permit.
    """

    def __init__(
        self,
        app: ASGIApp,
        table: RouteTable,
        admission: Admission,
        metrics: HttpMetrics,
        clock: Callable[[], float],
    ) -> None:
        self._app, self._table, self._admission = app, table, admission
        self._metrics, self._clock = metrics, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or reject one request; a request that needs no permit passes."""
        refusal = self._admission.refusal() if self._table.needs_permit(scope) else None
        if refusal is None:
            await self._app(scope, receive, send)
            return
        self._count(scope, refusal)
        await response_of(refusal, scope["state"]["request_id"])(scope, receive, send)

    def _count(self, scope: Scope, refusal: ServiceError) -> None:
        timeline: Timeline = scope["state"]["timeline"]
        outcome = scope["state"]["outcome"] = Outcome(door=scope["state"]["door"])
        record_outcome(self._metrics, outcome, self._clock() - timeline.received_at, refusal)
