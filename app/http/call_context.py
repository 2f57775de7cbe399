"""A request's id, timeline and deadline, read from what the middleware and the client set."""

from fastapi import Request

from app.errors import InvalidRequest
from app.service import CallContext


def context_of(request: Request, limit_s: float) -> CallContext:
    """Return the request's context; its deadline counts from the complete headers.

    Args:
        request: with the id and the timeline that `RequestContext` has set.
        limit_s: the longest that any request may take, seconds.

    Raises:
        InvalidRequest: `X-Request-Timeout` is not a number above 0.
    """
    timeline = request.state.timeline
    deadline = timeline.received_at + timeout_of(request, limit_s)
    return CallContext(request.state.request_id, timeline, deadline)


def timeout_of(request: Request, limit_s: float) -> float:
    """Return how many seconds a request may take: `X-Request-Timeout`, but at most the limit.

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
    if not seconds > 0:  # true for NaN too
        raise InvalidRequest("X-Request-Timeout", "must be a number of seconds above 0")
    return min(seconds, limit_s)
