"""Middleware around every request, tested by plain ASGI calls without a server."""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Overloaded, PayloadTooLarge
from app.http.middleware.body_limit import BodyLimit
from app.http.middleware.request_context import RequestContext
from app.http.route_table import RouteTable
from app.ipc.shared_state import SharedState
from app.settings import Settings
from app.telemetry.metrics import HttpMetrics
from harness.events import read_events


class FailingApp:
    """Raises an exception before or after the start of its answer."""

    def __init__(self, *, after_start: bool, kind: str = "application/json") -> None:
        self._after_start, self._kind = after_start, kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._after_start:
            headers = [(b"content-type", self._kind.encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        raise LookupError("a planted marker")


class StreamingApp:
    """Answers in parts until the client disconnects."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["type"] != "http.disconnect":
            await send({"type": "http.response.body", "body": b"part", "more_body": True})


class EchoingApp:
    """Answers with the number of bytes that it received."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        count, more = 0, True
        while more:
            message = await receive()
            count, more = count + len(message.get("body", b"")), message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(count).encode()})


def call(
    app: ASGIApp,
    body: Iterable[bytes] = (),
    path: str = "/",
    method: str = "POST",
    **headers: str,
) -> list[Message]:
    """Return the messages that an application sends in response to a request."""
    sent: list[Message] = []
    parts = [{"type": "http.request", "body": part, "more_body": True} for part in body]
    incoming = iter([*parts, {"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Message:
        return next(incoming, {"type": "http.disconnect"})

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    state = {"request_id": "id", "door": "kosmos2"}
    scope = {"type": "http", "method": method, "path": path, "headers": raw, "state": state}
    asyncio.run(app(scope, receive, send))
    return sent


def context(app: ASGIApp, tmp_path: Path) -> RequestContext:
    table = RouteTable()
    table.open_path("/v1/ground")
    return RequestContext(app, table, SharedState(tmp_path / "state"), lambda: 0.0)


def test_an_unexpected_exception_is_an_internal_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The response states that the service failed, without the text of the exception."""
    start, body = call(context(FailingApp(after_start=False), tmp_path))
    content: dict[str, Any] = json.loads(body["body"])
    assert start["status"] == 500
    assert content["code"] == "internal_error"
    assert "planted" not in str(content)


def test_a_failure_after_the_start_of_an_answer_sends_no_second_answer(tmp_path: Path) -> None:
    sent = call(context(FailingApp(after_start=True), tmp_path))
    assert [message.get("body") for message in sent] == [None, b"begun"]


def test_a_failure_after_the_start_of_a_stream_is_its_last_event(tmp_path: Path) -> None:
    """Otherwise the client could not distinguish a truncated stream from a complete one."""
    app = FailingApp(after_start=True, kind="text/event-stream; charset=utf-8")
    *_, last = call(context(app, tmp_path))
    [event] = read_events(last["body"].decode().split("\n")[:-1])
    assert not last.get("more_body", False)
    assert (event.name, event.data["code"]) == ("error", "internal_error")
    assert "planted" not in str(event)


def test_a_client_that_disconnects_is_logged_as_499(tmp_path: Path) -> None:
    """Even if its answer had started with another status."""
    with structlog.testing.capture_logs() as logged:
        call(context(StreamingApp(), tmp_path), [b"a body"])
        call(context(EchoingApp(), tmp_path))
    assert [line["status"] for line in logged] == [499, 200]


def test_the_log_names_known_routes_and_no_other_path(tmp_path: Path) -> None:
    """Even if a middleware rejects the request before its route is known."""
    with structlog.testing.capture_logs() as logged:
        call(context(EchoingApp(), tmp_path), path="/v1/ground")
        call(context(EchoingApp(), tmp_path), path="/any/text")
    assert [line["route"] for line in logged] == ["/v1/ground", "Not Found"]


def test_probes_are_logged_at_the_level_debug_only(tmp_path: Path) -> None:
    """A load balancer sends one every few seconds, so the lines of users would be hard to find."""
    table = RouteTable()
    table.open_path("/readyz")
    table.open_path("/v1/tasks")
    state = SharedState(tmp_path / "state")
    app = RequestContext(EchoingApp(), table, state, lambda: 0.0, {"/readyz"})
    with structlog.testing.capture_logs() as logged:
        call(app, path="/readyz", method="GET")
        call(app, path="/readyz", method="HEAD")
        call(app, path="/readyz", method="POST")
        call(app, path="/v1/tasks", method="GET")
    assert [line["log_level"] for line in logged] == ["debug", "debug", "info", "info"]


def test_responses_close_the_connection_while_the_service_drains(tmp_path: Path) -> None:
    app = context(EchoingApp(), tmp_path)
    SharedState(tmp_path / "state").mark_draining()
    assert (b"connection", b"close") in call(app)[0]["headers"]


LIMIT = 1024


def limited(app: ASGIApp) -> BodyLimit:
    """Return a middleware that allows 1 KiB per body, and 2 KiB for all bodies together."""
    settings = Settings(max_body_bytes=LIMIT, max_bodies_bytes=2 * LIMIT)
    return BodyLimit(app, settings, HttpMetrics(CollectorRegistry()))


def test_a_declared_length_over_the_limit_is_rejected_before_the_body() -> None:
    start, _ = call(limited(EchoingApp()), content_length=str(LIMIT + 1))
    assert start["status"] == 413


def test_a_body_within_the_limit_passes() -> None:
    _, body = call(limited(EchoingApp()), [bytes(LIMIT - 5), b"67890"], content_length=str(LIMIT))
    assert body["body"] == b"1024"


def test_a_body_over_the_limit_without_a_declared_length_is_rejected_as_it_arrives() -> None:
    parts = [bytes(LIMIT // 2), bytes(LIMIT // 2), b"1"]
    with pytest.raises(PayloadTooLarge):
        call(limited(EchoingApp()), parts)


def test_one_body_may_have_the_longest_length_however_many_processes_share_the_memory() -> None:
    settings = Settings(max_body_bytes=LIMIT, max_bodies_bytes=2 * LIMIT, http_workers=4)
    app = BodyLimit(EchoingApp(), settings, HttpMetrics(CollectorRegistry()))
    _, body = call(app, [bytes(LIMIT)], content_length=str(LIMIT))
    assert body["body"] == b"1024"


class WaitingApp:
    """Reads each body, waits until all have arrived, and answers or raises an exception."""

    def __init__(self, num_requests: int, *, fails: bool = False) -> None:
        self._arrived, self._fails = asyncio.Barrier(num_requests), fails

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await receive()
        finally:
            await self._arrived.wait()
        if self._fails:
            raise LookupError


async def call_together(app: ASGIApp, bodies: Iterable[bytes]) -> list[str]:
    """Return the outcomes of requests that are in work at the same time."""

    async def call_one(body: bytes) -> str:
        async def receive() -> Message:
            return {"type": "http.request", "body": body}

        async def send(message: Message) -> None:
            pass

        try:
            await app({"type": "http", "headers": [], "state": {}}, receive, send)
        except Overloaded:
            return "overloaded"
        return "answered"

    return list(await asyncio.gather(*(call_one(body) for body in bodies)))


def test_the_bodies_of_all_requests_share_a_limit() -> None:
    app = limited(WaitingApp(3))
    outcomes = asyncio.run(call_together(app, [bytes(LIMIT)] * 3))
    assert sorted(outcomes) == ["answered", "answered", "overloaded"]


def test_a_body_is_counted_only_until_its_request_ends() -> None:
    """The request may be answered or may fail."""
    app = limited(WaitingApp(1))
    for _ in range(5):
        assert asyncio.run(call_together(app, [bytes(LIMIT)])) == ["answered"]
    failing = limited(WaitingApp(1, fails=True))
    for _ in range(5):
        with pytest.raises(LookupError):
            asyncio.run(call_together(failing, [bytes(LIMIT)]))
