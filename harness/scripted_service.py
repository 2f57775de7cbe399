"""A service that answers by a script, passed to a client as the transport of httpx."""

import json
from collections.abc import Callable
from email import message_from_bytes
from email.message import Message
from typing import Any

import httpx

Step = Any
"""JSON with status 200, a problem with its own, a list of events, bytes, an exception, a response,
or a pair of one of them and headers."""


class FakeTime:
    """A clock that only moves when a client sleeps."""

    def __init__(self) -> None:
        self._now = 1000.0
        self.waits: list[float] = []

    def clock(self) -> float:
        """Return the time, in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.waits.append(seconds)
        self._now += seconds


class Script:
    """Answers each request with the next step, and keeps the requests.

    Args:
        by_image: returns the step for the picture of a request, in place of the list of steps.
    """

    def __init__(self, *steps: Step, by_image: Callable[[bytes], Step] | None = None) -> None:
        self._steps, self._by_image = list(steps), by_image
        self.requests: list[httpx.Request] = []
        self.fields: list[dict[str, bytes]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Return the response to a request, or raise an exception of httpx."""
        self.requests.append(request)
        fields = _fields_of(request)
        self.fields.append(fields)
        step = self._by_image(fields["image"]) if self._by_image else self._steps.pop(0)
        return response_of(step)


def response_of(step: Step, headers: dict[str, str] | None = None) -> httpx.Response:
    """Return the response that a step describes; raise it if it is an exception."""
    if isinstance(step, Exception):
        raise step
    if isinstance(step, httpx.Response):
        return step
    if isinstance(step, tuple):
        return response_of(step[0], step[1])
    if isinstance(step, bytes):
        return httpx.Response(200, content=step, headers=headers)
    if isinstance(step, list) and step and isinstance(step[0], tuple):
        events = b"".join(_frame(*event) for event in step)
        return httpx.Response(200, content=events, headers={"Content-Type": "text/event-stream"})
    status = step.get("status", 200) if isinstance(step, dict) else 200
    return httpx.Response(status, json=step, headers=headers)


def _frame(name: str, data: Any) -> bytes:
    return f": ping\n\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _fields_of(request: httpx.Request) -> dict[str, bytes]:
    """Return the parts of a form by name."""
    kind = request.headers.get("Content-Type", "")
    if not kind.startswith("multipart/form-data"):
        return {}
    message = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + request.read())
    parts = [part for part in message.walk() if not part.is_multipart()]
    return {_name_of(part): _content_of(part) for part in parts}


def _name_of(part: Message) -> str:
    return str(part.get_param("name", header="Content-Disposition"))


def _content_of(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content
