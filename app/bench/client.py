"""Sends the requests of a load over HTTP and reads the answers, streamed or not.

It uses aiohttp, since httpx needs 20 times the processor time per request (docs/adr/0017): on a
small machine the generator shares the processor with the service that it measures.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from app.bench.event_stream import EventAssembler
from app.bench.results import Reply
from app.bench.workload import LoadRequest
from app.errors import Kosmos2Error

TIMEOUT_S = 150.0
"""Longer than the service's default deadline, so that the service ends a slow request first."""

_EVENT_STREAM = "text/event-stream"
_LONGEST_LINE = 2**22  # bytes; the last event is the whole answer
# Shorter than the 5 s for which uvicorn keeps an idle connection by default, as peers in benchmarks
# do: otherwise some requests would be sent over a connection that the server is just closing.
_KEEP_ALIVE_S = 3.0


@dataclass(frozen=True)
class _Form:
    """An encoded request."""

    # The cache of forms has the `id` of the request as its key; while the request is kept alive, no
    # other object gets the same `id`.
    request: LoadRequest
    content_type: str
    body: bytes


class NoService(Kosmos2Error):
    """No server answers at the URL, or the server is not a Kosmos-2 service."""


class LoadClient:
    """Sends requests to one service, over as many connections as necessary.

    Args:
        url: base URL of the service, without a path.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str, *, is_streaming: bool) -> None:
        self._session, self._is_streaming = session, is_streaming
        self._url = url.rstrip("/")
        self._forms: dict[int, _Form] = {}
        self._clock = asyncio.get_running_loop().time

    async def model_name(self) -> str:
        """Return the name of the model that the service serves.

        Raises:
            NoService: no server answers, or it is not a Kosmos-2 service.
        """
        try:
            async with self._session.get(f"{self._url}/version") as response:
                return str((await response.json())["model"]["name"])
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
            raise NoService(str(error)) from error

    async def send(self, request: LoadRequest) -> Reply:
        """Send one request and read its answer to the end; return failures as replies too."""
        headers = {"Accept": _EVENT_STREAM if self._is_streaming else "application/json"}
        try:
            form, url = await self._form_of(request), self._url + request.path
            headers["Content-Type"] = form.content_type
            async with self._session.post(url, data=form.body, headers=headers) as response:
                if response.content_type == _EVENT_STREAM:
                    return await self._read_events(response)
                return _read_answer(response, await response.read())
        except aiohttp.ClientError:
            return Reply(0, "connection_failed")
        except TimeoutError:
            return Reply(0, "client_timeout")

    async def _form_of(self, request: LoadRequest) -> _Form:
        """Return the request as a form; a repeated request reuses its bytes."""
        form = self._forms.get(id(request))
        if form is None:
            # Encoding takes more than half of the client's time per request (docs/adr/0017).
            writer = aiohttp.FormData(request.fields, default_to_multipart=True)
            writer.add_field("image", request.picture, filename="picture")
            multipart = writer()
            form = _Form(request, multipart.content_type, await multipart.as_bytes())
            self._forms[id(request)] = form
        return form

    async def _read_events(self, response: aiohttp.ClientResponse) -> Reply:
        request_id = response.headers.get("X-Request-ID")
        first_at: float | None = None
        answer: dict[str, Any] | None = None
        # The result unless `done` or `error` arrives.
        code: str | None = "stream_cut"
        assembler = EventAssembler()
        async for line in response.content:
            event = assembler.add(line.decode().rstrip("\r\n"))
            if event is None:
                continue
            first_at = first_at or self._clock()
            if event.name == "done":
                code, answer = None, event.data
            elif event.name == "error":
                code = event.data["code"]
        return Reply(response.status, code, answer, request_id, first_at)


@asynccontextmanager
async def load_client(
    url: str, *, api_key: str | None = None, is_streaming: bool = False
) -> AsyncIterator[LoadClient]:
    """Yield a client that is closed at the end of the block.

    Args:
        url: base URL of the service, without a path.
        api_key: key to send with each request.
    """
    headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    async with aiohttp.ClientSession(
        # 0: no limit, because aiohttp would let requests wait for one of 100 connections.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S),
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        # aiohttp raises an error for a line that is longer than its buffer.
        read_bufsize=_LONGEST_LINE,
    ) as session:
        yield LoadClient(session, url, is_streaming=is_streaming)


def _read_answer(response: aiohttp.ClientResponse, body: bytes) -> Reply:
    request_id = response.headers.get("X-Request-ID")
    try:
        content: dict[str, Any] = json.loads(body)
        code = None if response.ok else content["code"]
    except (ValueError, KeyError, TypeError):
        code = "malformed_answer" if response.ok else f"http_{response.status}"
        return Reply(response.status, code, None, request_id)
    retry_after = response.headers.get("Retry-After")
    return Reply(
        response.status,
        code,
        content if code is None else None,
        request_id,
        retry_after_s=None if retry_after is None else int(retry_after),
    )
