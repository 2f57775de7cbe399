"""Sends attempts, each over its own connection, and returns how each ended."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Literal

import httpx

from app.bench.event_stream import Event
from harness.events import async_events_of
from reliability.attempts import Attempt

EndingKind = Literal["answer", "problem", "left", "cut", "late", "broken"]

_PIECES = 8
_NEVER_S = 3600.0


@dataclass(frozen=True)
class Ending:
    """The end of an attempt as its client saw it.

    Attributes:
        kind: `answer`; `problem` with a code; `left`: the client disconnected; `cut`: the
            connection broke; `late`: nothing arrived in time; `broken`: the bytes are not a valid
            answer.
        status: the HTTP status; 0 if none arrived.
        answer: the body of `POST /v1/ground`.
        num_ends: answers and errors received; a correct service sends one.
        first_event_at: of a stream, on the event loop's clock.
    """

    kind: EndingKind
    status: int = 0
    code: str | None = None
    answer: dict[str, Any] | None = None
    num_ends: int = 0
    first_event_at: float | None = None


class ChaosClient:
    """Sends attempts to one service.

    Args:
        client: must not keep connections alive, so that each connection has one attempt.
        url: of the service, without a path.
        limit_s: an attempt that takes longer is late.
        pause_s: between the pieces of a body that is sent slowly.
    """

    def __init__(self, client: httpx.AsyncClient, url: str, limit_s: float, pause_s: float) -> None:
        self._client, self.url = client, url
        self._limit_s, self._pause_s = limit_s, pause_s
        self._attempts_by_port: dict[int, Attempt] = {}

    def attempts_on(self, ports: Iterable[int]) -> list[Attempt]:
        """Return the attempts whose connections use these local ports now."""
        by_port = self._attempts_by_port
        return [by_port[port] for port in ports if port in by_port]

    async def perform(self, attempt: Attempt) -> Ending:
        """Send an attempt and return how it ended; never raises for failures of the service."""
        leaves_early = attempt.manner in ("leaves_sending", "leaves_waiting")
        try:
            async with asyncio.timeout(attempt.stays_s if leaves_early else self._limit_s):
                return await self._send(attempt)
        except TimeoutError:
            return Ending("left" if leaves_early else "late")
        except httpx.TransportError:
            return Ending("cut")
        # Not JSON, or a field is missing.
        except (ValueError, KeyError):
            return Ending("broken")
        finally:
            self._release_ports(attempt)

    def _release_ports(self, attempt: Attempt) -> None:
        # The system reuses ports: an old entry would excuse the loss of another request.
        for port in [p for p, other in self._attempts_by_port.items() if other is attempt]:
            del self._attempts_by_port[port]

    async def _send(self, attempt: Attempt) -> Ending:
        body, content_type = attempt.question.body(attempt.body_kind)
        headers = {
            "Content-Type": content_type,
            # httpx sends a generator in chunks unless the length is given.
            "Content-Length": str(len(body)),
            "X-Request-ID": attempt.request_id,
            "Accept": "text/event-stream" if attempt.is_streaming else "application/json",
        }

        # httpx reports the local port of a connection to this hook only.
        async def note_port(event: str, info: dict[str, Any]) -> None:
            if event == "connection.connect_tcp.complete":
                port = info["return_value"].get_extra_info("client_addr")[1]
                self._attempts_by_port[port] = attempt

        async with self._client.stream(
            "POST",
            f"{self.url}/v1/ground",
            content=self._pieces(attempt, body),
            headers=headers,
            extensions={"trace": note_port},
        ) as response:
            if response.headers["Content-Type"].startswith("text/event-stream"):
                return await _read_events(attempt, response)
            return _read_whole(response.status_code, await response.aread())

    async def _pieces(self, attempt: Attempt, body: bytes) -> AsyncIterator[bytes]:
        if attempt.manner == "leaves_sending":
            yield body[: len(body) // 2]
            # `perform` cancels this wait, which closes the connection in the middle of the body.
            await asyncio.sleep(_NEVER_S)
        elif attempt.manner == "sends_slowly":
            length = -(-len(body) // _PIECES)
            for start in range(0, len(body), length):
                yield body[start : start + length]
                await asyncio.sleep(self._pause_s)
        else:
            yield body


def _read_whole(status: int, body: bytes) -> Ending:
    content = json.loads(body)
    if status == httpx.codes.OK:
        return Ending("answer", status, answer=content, num_ends=1)
    return Ending("problem", status, content["code"], num_ends=1)


async def _read_events(attempt: Attempt, response: httpx.Response) -> Ending:
    """Return the end of a stream; its answer must equal the texts streamed before it."""
    text, first_at = "", None
    ends = list[Ending]()
    async with aclosing(async_events_of(response)) as events:
        async for event in events:
            first_at = first_at or asyncio.get_running_loop().time()
            if attempt.manner == "leaves_reading":
                return Ending("left", response.status_code, first_event_at=first_at)
            if event.name == "token":
                text += event.data["text"]
            elif event.name in ("done", "error"):
                ends.append(_read_end(event, response.status_code, text))
    # Without a last event the answer is cut, even if the connection was closed properly.
    if not ends:
        return Ending("cut", response.status_code, first_event_at=first_at)
    return replace(ends[-1], num_ends=len(ends), first_event_at=first_at)


def _read_end(event: Event, status: int, text: str) -> Ending:
    if event.name == "error":
        return Ending("problem", status, event.data["code"])
    kind: EndingKind = "answer" if event.data["answer"] == text else "broken"
    return Ending(kind, status, answer=event.data)
