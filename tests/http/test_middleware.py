"""What stands around every request, without a server: plain ASGI calls."""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.middleware import BodyLimit, RequestContext
from app.shared_page import SharedPage


class FailingApp:
    """Fails, before its answer has begun or after."""

    def __init__(self, *, after_start: bool) -> None:
        self._after_start = after_start

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._after_start:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise LookupError("a planted marker")


class EchoingApp:
    """Answers with the number of bytes that it was sent."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        count, more = 0, True
        while more:
            message = await receive()
            count, more = count + len(message.get("body", b"")), message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(count).encode()})


def call(app: ASGIApp, body: Iterable[bytes] = (), **headers: str) -> list[Message]:
    """What an application sends to a request."""
    sent: list[Message] = []
    parts = [{"type": "http.request", "body": part, "more_body": True} for part in body]
    incoming = iter([*parts, {"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Message:
        return next(incoming, {"type": "http.disconnect"})

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": raw, "state": {}}
    asyncio.run(app(scope | {"state": {"request_id": "id"}}, receive, send))
    return sent


def context(app: ASGIApp, tmp_path: Path) -> RequestContext:
    return RequestContext(app, SharedPage(tmp_path / "page"), lambda: 0.0)


def test_what_nobody_foresaw_is_an_internal_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sender is told that it is not their fault, and nothing else."""
    start, body = call(context(FailingApp(after_start=False), tmp_path))
    told: dict[str, Any] = json.loads(body["body"])
    assert start["status"] == 500
    assert told["code"] == "internal_error"
    assert "planted" not in str(told)


def test_an_answer_that_has_begun_is_not_begun_again(tmp_path: Path) -> None:
    sent = call(context(FailingApp(after_start=True), tmp_path))
    assert [message["type"] for message in sent] == ["http.response.start"]


def test_while_the_service_drains_clients_are_asked_to_leave(tmp_path: Path) -> None:
    app = context(EchoingApp(), tmp_path)
    SharedPage(tmp_path / "page").drain()
    assert (b"connection", b"close") in call(app)[0]["headers"]


def test_a_declared_length_over_the_limit_is_refused_before_the_body_is_read() -> None:
    start, _ = call(BodyLimit(EchoingApp(), 10), content_length="11")
    assert start["status"] == 413


def test_a_body_within_the_limit_passes() -> None:
    _, body = call(BodyLimit(EchoingApp(), 10), [b"12345", b"67890"], content_length="10")
    assert body["body"] == b"10"
