"""Reads a request's id and timeline from its state, and its deadline from a header."""

from fastapi import Request

from app.errors import InvalidRequest
from app.grounding.requests import CallContext


def context_of(request: Request, limit_s: float) -> CallContext:
    """Return the request's context; its deadline counts from the complete headers.

    Args:
        request: `RequestContext` must have set its id and timeline.
        limit_s: time limit of every request, seconds.

    Raises:
        InvalidRequest: `X-Request-Timeout` is not a number above 0.
    """
    timeline = request.state.timeline
    deadline = timeline.received_at + timeout_of(request, limit_s)
    return CallContext(request.state.request_id, timeline, deadline)


def timeout_of(request: Request, limit_s: float) -> float:
    """Return the time limit of a request in seconds: `X-Request-Timeout`, at most `limit_s`.

    Raises:
        InvalidRequest: the header is not a number above 0.
    """
    header = request.headers.get("x-request-timeout")
    if header is None:
        return limit_s
    try:
        seconds = float(header)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:  # unlike `seconds <= 0`, this also rejects NaN
        raise InvalidRequest("X-Request-Timeout", "must be a number of seconds above 0")
    return min(seconds, limit_s)
