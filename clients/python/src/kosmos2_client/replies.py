"""Reads responses of the service: JSON, or an error of the class that fits its status."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from kosmos2_client.errors import (
    InvalidAnswer,
    Overloaded,
    RateLimited,
    RequestRejected,
    ServiceFailure,
    ServiceProblem,
    Unauthorized,
)

_SHOWN_CHARACTERS = 200
_CLASSES: Mapping[int, type[ServiceProblem]] = {
    401: Unauthorized,
    429: RateLimited,
    503: Overloaded,
}


@dataclass(frozen=True)
class Reply:
    """A response.

    Attributes:
        retry_after: value of the header `Retry-After`.
        stream: a successful response whose events have not been read; its content is empty.
    """

    status: int
    content: bytes
    retry_after: str | None = None
    stream: httpx.Response | None = None

    def opened(self) -> httpx.Response:
        """Return the response with unread events."""
        if self.stream is None:
            raise InvalidAnswer("the service answered with something other than events")
        return self.stream


def error_of(reply: Reply) -> ServiceProblem | InvalidAnswer | None:
    """Return the error that a response reports; `None` for a success."""
    if reply.status < 300:
        return None
    if reply.status < 400:
        return InvalidAnswer(f"the answer is a redirect ({reply.status}): use the final URL")
    return problem_of(reply.status, _problem_json(reply), read_retry_after(reply.retry_after))


def problem_of(
    status: int, problem: Mapping[str, Any], retry_after_s: float | None = None
) -> ServiceProblem:
    """Return the error of a problem+json object, of the class that fits the status."""
    general = RequestRejected if status < 500 else ServiceFailure
    return _CLASSES.get(status, general)(status, problem, retry_after_s)


def read_json(reply: Reply) -> Any:
    """Return the JSON of a response.

    Raises:
        InvalidAnswer: it is no JSON.
    """
    try:
        return json.loads(reply.content)
    except ValueError:
        raise InvalidAnswer(f"the answer is no JSON: {_start_of(reply)}") from None


def read_retry_after(value: str | None) -> float | None:
    """Return a wait in seconds, ≥ 0; `None` without a readable header.

    >>> read_retry_after("3")
    3.0
    """
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:  # a date, which proxies may send
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:  # dates of HTTP are in UTC
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _problem_json(reply: Reply) -> Mapping[str, Any]:
    """Return the problem of an error; a proxy may answer with a page instead."""
    try:
        problem = json.loads(reply.content)
    except ValueError:
        problem = None
    return problem if isinstance(problem, dict) else {"detail": _start_of(reply)}


def _start_of(reply: Reply) -> str:
    text = reply.content[:_SHOWN_CHARACTERS].decode(errors="replace")
    return " ".join(text.split()) or "empty"
