"""Sends the requests of a load through all doors in turn, in the form of each door's clients."""

import base64
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from app.bench.client import TIMEOUT_S
from app.bench.results import Reply
from app.bench.workload import LoadRequest
from app.http.routes.invocations import ATTRIBUTES
from benchmarks.machine import ROOT

_DESCRIPTION = ROOT / "docs" / "openapi.json"
_JSON = {"Content-Type": "application/json"}
_CLASS = "red circle"

Encoded = tuple[bytes, Mapping[str, str]]
"""A body and its headers."""


def _json(fields: Mapping[str, Any]) -> Encoded:
    return json.dumps(fields).encode(), _JSON


def _base64(request: LoadRequest) -> str:
    return base64.b64encode(request.picture).decode()


def _uri(request: LoadRequest) -> str:
    return f"data:image/jpeg;base64,{_base64(request)}"


def _typed(request: LoadRequest) -> dict[str, Any]:
    fields: dict[str, Any] = dict(request.fields)
    return fields | {name: json.loads(fields[name]) for name in ("regions",) if name in fields}


def _ground(request: LoadRequest) -> Encoded:
    return _json({"image": {"base64": _base64(request)}} | _typed(request))


def _detect(request: LoadRequest) -> Encoded:
    return _json({"image": {"base64": _base64(request)}, "classes": [_CLASS]})


def _infer(request: LoadRequest) -> Encoded:
    return _json({"image": {"type": "base64", "value": _base64(request)}, "text": [_CLASS]})


def _chat(request: LoadRequest) -> Encoded:
    fields = _typed(request)
    content: list[Any] = [{"type": "image_url", "image_url": {"url": _uri(request)}}]
    content.append({"type": "text", "text": fields.pop("text", "")})
    return _json({"messages": [{"role": "user", "content": content}]} | fields)


def _invoke(request: LoadRequest) -> Encoded:
    return request.picture, {"Content-Type": "image/jpeg", ATTRIBUTES: "task=brief_caption"}


def _caption(request: LoadRequest) -> Encoded:
    return _json({"image_url": _uri(request), "length": "short"})


def _query(request: LoadRequest) -> Encoded:
    return _json({"image_url": _uri(request), "question": "What is this?"})


def _object(request: LoadRequest) -> Encoded:
    return _json({"image_url": _uri(request), "object": _CLASS})


WRITERS: Mapping[str, Callable[[LoadRequest], Encoded]] = {
    "/v1/ground": _ground,
    "/v1/annotate": _ground,
    "/v1/detect": _detect,
    "/v1/chat/completions": _chat,
    "/yolo_world/infer": _infer,
    "/grounding_dino/infer": _infer,
    "/moondream/caption": _caption,
    "/moondream/query": _query,
    "/moondream/detect": _object,
    "/moondream/point": _object,
    "/invocations": _invoke,
}
"""How the clients of each path write a request."""


def posted_paths() -> list[str]:
    """Return the paths that run the model, as the description of the routes has them."""
    described = json.loads(_DESCRIPTION.read_text())["paths"]
    return [path for path, operations in described.items() if "post" in operations]


class DoorClient:
    """Sends each request to the next path.

    Raises:
        KeyError: a path has no entry in `WRITERS`.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._doors = itertools.cycle([(f"{url}{path}", WRITERS[path]) for path in posted_paths()])

    async def send(self, request: LoadRequest) -> Reply:
        """Send one request and read its answer; return failures as replies too."""
        url, write = next(self._doors)
        body, headers = write(request)
        try:
            async with self._session.post(url, data=body, headers=headers) as response:
                return _reply(response, await response.read())
        except aiohttp.ClientError:
            return Reply(0, "connection_failed")
        except TimeoutError:
            return Reply(0, "client_timeout")


@asynccontextmanager
async def door_client(url: str) -> AsyncIterator[DoorClient]:
    """Yield a client that is closed at the end of the block."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)
    ) as session:
        yield DoorClient(session, url)


def _reply(response: aiohttp.ClientResponse, body: bytes) -> Reply:
    retry_after = response.headers.get("Retry-After")
    code = None if response.ok else code_of(json.loads(body))
    seconds = None if retry_after is None else int(retry_after)
    return Reply(response.status, code, retry_after_s=seconds)


def code_of(problem: Mapping[str, Any]) -> str:
    """Return the code of an error in the shape of any door.

    >>> code_of({"error": {"code": "overloaded"}}), code_of({"code": "overloaded"})
    ('overloaded', 'overloaded')
    """
    code: str = problem.get("error", problem)["code"]
    return code
