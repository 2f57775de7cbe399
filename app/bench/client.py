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
"""Longer than the service's own deadline, which is to end a request first."""

_EVENT_STREAM = "text/event-stream"
_LONGEST_LINE = 2**22  # bytes; the last event is the whole answer
# Shorter than uvicorn keeps an idle connection (5 s): else some requests meet one just closed.
_KEEP_ALIVE_S = 3.0


@dataclass(frozen=True)
class _Form:
    """A request as it is sent; it keeps the request, whose identity is its key."""

    request: LoadRequest
    content_type: str
    body: bytes


class NoService(Kosmos2Error):
    """Nobody answers there, or another kind of service."""


class LoadClient:
    """Sends requests to one service, over as many connections as it takes.

    Args:
        session: see `load_client`.
        url: of the service, without a path.
        is_streaming: whether answers are asked for as events.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str, *, is_streaming: bool) -> None:
        self._session, self._is_streaming = session, is_streaming
        self._url = url.rstrip("/")
        self._forms: dict[int, _Form] = {}
        self._clock = asyncio.get_running_loop().time

    async def model_name(self) -> str:
        """The name of the model that the service serves.

        Raises:
            NoService: nobody answers there, or another kind of service.
        """
        try:
            async with self._session.get(f"{self._url}/version") as response:
                return str((await response.json())["model"]["name"])
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
            raise NoService(str(error)) from error

    async def send(self, request: LoadRequest) -> Reply:
        """Send one request and read its answer to the end; failures are replies too."""
        route = f"{self._url}/v1/ground"
        headers = {"Accept": _EVENT_STREAM if self._is_streaming else "application/json"}
        try:
            form = await self._form_of(request)
            headers["Content-Type"] = form.content_type
            async with self._session.post(route, data=form.body, headers=headers) as response:
                if response.content_type == _EVENT_STREAM:
                    return await self._read_events(response)
                return _read_answer(response, await response.read())
        except aiohttp.ClientError:
            return Reply(0, "connection_failed")
        except TimeoutError:
            return Reply(0, "client_timeout")

    async def _form_of(self, request: LoadRequest) -> _Form:
        """The same bytes each time a request comes again: writing them is a fifth of the work."""
        form = self._forms.get(id(request))
        if form is None:
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
    """A client for as long as the block lasts.

    Args:
        url: of the service, without a path.
        api_key: sent with each request.
        is_streaming: whether answers are asked for as events.
    """
    headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S),
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
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
