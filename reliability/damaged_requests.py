"""Damaged requests of every kind: damaged anywhere, or in their bodies only; fixed by the seed."""

import base64
from collections.abc import Iterator

import httpx

from harness.mutants import mutants
from harness.pictures import picture_file
from reliability.client_requests import client_requests

QUICK_CAPTION = {"task": "brief_caption", "max_new_tokens": "1"}
"""Form fields of a request that takes little time."""


def damaged_requests(url: str, count: int) -> dict[str, Iterator[bytes]]:
    """Return damaged requests by kind: `count` damaged anywhere, `count` damaged in the body."""
    return {name: _damaged(request, name, count) for name, request in _requests(url).items()}


def _damaged(request: httpx.Request, name: str, count: int) -> Iterator[bytes]:
    # Damage anywhere mostly hits the head, after which the service does not read the body.
    yield from mutants(_as_bytes(request, request.read()), count, f"request {name}")
    for body in mutants(request.read(), count, f"body {name}"):
        yield _as_bytes(request, body)


def _as_bytes(request: httpx.Request, body: bytes) -> bytes:
    """Return the bytes of a request on the wire, with this body."""
    # A wrong length would be rejected before anything parses the damaged body.
    request.headers["Content-Length"] = str(len(body))
    lines = [f"{request.method} {request.url.raw_path.decode()} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([*lines, "\r\n"]).encode() + body


def _requests(url: str) -> dict[str, httpx.Request]:
    """Return one request of each kind, with a picture so small that the damage often hits text."""
    picture = picture_file((32, 32))
    uri = f"data:;base64,{base64.b64encode(picture).decode()}"
    box = {"boxes": [[1, 2, 30, 31]]}
    entity = {"phrase": "a disc", "boxes": [{"xyxy": [1, 2, 30, 31], "score": 0.5}]}
    region = {"task": "referring_expression_generation", "regions": [box], "max_new_tokens": 1}
    phrase = {"task": "phrase_grounding", "text": "a disc", "max_new_tokens": 1}
    ground, annotate = f"{url}/v1/ground", f"{url}/v1/annotate"
    return {
        "form": httpx.Request("POST", ground, files={"image": picture}, data=QUICK_CAPTION),
        "JSON": httpx.Request("POST", ground, json=phrase | {"image": uri}),
        "regions": httpx.Request("POST", ground, json=region | {"image": uri}),
        "drawing": httpx.Request("POST", annotate, json={"entities": [entity], "image": uri}),
        "no body": httpx.Request("GET", f"{url}/v1/tasks", headers={"Accept": "application/json"}),
        **client_requests(url, picture),
    }
