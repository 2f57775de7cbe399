"""Reads a request's id and timeline from its state, and its deadline from a header."""

from dataclasses import replace

from fastapi import Request

from app.errors import InvalidRequest
from app.grounding.requests import CallContext
from app.ipc.engine_messages import Priority


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


def with_priority(context: CallContext, request: Request, sent: Priority | None) -> CallContext:
    """Return the context with the request's priority.

    Args:
        request: `ApiKeys` marks those whose key is confined to batch requests.
        sent: the field of the request, `None` if it was not sent.

    Raises:
        InvalidRequest: the key is confined, and the request is explicitly interactive.
    """
    if not getattr(request.state, "is_batch_only", False):
        return replace(context, priority=sent or "interactive")
    if sent == "interactive":
        raise InvalidRequest("priority", "must be batch: this API key is confined to it")
    return replace(context, priority="batch")


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
