"""Begins the work on a request: its count, its context and the pace of its body."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from fastapi import Request

from app.grounding.requests import CallContext
from app.http.body_pace import with_body_pace
from app.http.call_context import context_of
from app.http.outcomes import Outcome, count_request
from app.settings import Settings
from app.telemetry.metrics import HttpMetrics


@dataclass(frozen=True)
class Call:
    """A request that a route has begun to serve.

    Attributes:
        request: for the connection; `paced` is the one to read.
        paced: raises an error when the body arrives too slowly.
        context: its priority is not known before the body.
        outcome: counted at the end of `lifetime`.
        lifetime: ends after the last byte of the response, which may be a stream.
    """

    request: Request
    paced: Request
    context: CallContext
    outcome: Outcome
    lifetime: AsyncExitStack


class Calls:
    """Begins calls with the limits of an operator.

    Args:
        clock: monotonic, seconds.
    """

    def __init__(
        self, settings: Settings, metrics: HttpMetrics, clock: Callable[[], float]
    ) -> None:
        self._settings, self._metrics, self._clock = settings, metrics, clock

    def begin(self, request: Request, lifetime: AsyncExitStack) -> Call:
        """Return the call of a request whose headers are complete, and count it once.

        Args:
            request: `RequestContext` must have set its id, its door and its timeline.

        Raises:
            InvalidRequest: `X-Request-Timeout` is not a number above 0.
        """
        state, settings = request.state, self._settings
        counted = count_request(self._metrics, state.timeline.received_at, self._clock, state.door)
        outcome = lifetime.enter_context(counted)
        state.outcome = outcome
        context = context_of(request, settings.deadline_s)
        paced = with_body_pace(request, settings.body_timeout_s, context.deadline, self._clock)
        return Call(request, paced, context, outcome, lifetime)
