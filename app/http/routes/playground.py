"""The page at `/`, where people try the model in a browser, and its assets.

All links are relative to the page, as in `/docs`. The page needs no key; its requests do. The
files are read and compressed once, because they are small and never change while the service runs.
"""

import gzip
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fastapi import APIRouter, Request, Response

from app.http.accept import preferred_type
from app.http.bodies import JSON
from app.http.security_headers import policy_of_page
from app.settings import EMBEDDED_CHECKPOINT

_PAGE, _ASSETS = "/", "/playground"
_FOLDER = Path(str(files("app"))) / "playground"
_RECORDED = Path(str(files("app"))) / "verify" / "published.json"
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        ".css": "text/css; charset=utf-8",
        ".html": "text/html; charset=utf-8",
        ".jpg": "image/jpeg",
        ".js": "text/javascript; charset=utf-8",
        ".json": JSON,
        ".png": "image/png",
        ".svg": "image/svg+xml",
    }
)
_ALREADY_COMPRESSED = {".jpg", ".png"}


def _files() -> Iterator[tuple[str, Path]]:
    """Yield path and file of the page and of each asset, except the recorded answers."""
    yield _PAGE, _FOLDER / "index.html"
    for file in sorted(_FOLDER.rglob("*")):
        if file.suffix in _TYPES and file.name != "index.html":
            yield f"{_ASSETS}/{file.relative_to(_FOLDER).as_posix()}", file
    for file in sorted((EMBEDDED_CHECKPOINT / "scenes").iterdir()):
        yield f"{_ASSETS}/scenes/{file.name}", file


_FILES: Mapping[str, Path] = MappingProxyType(dict(_files()))
_PUBLISHED = f"{_ASSETS}/published.json"
PLAYGROUND_PATHS = (*_FILES, _PUBLISHED)
"""The page and its assets; none of them needs a key."""


@dataclass(frozen=True)
class Asset:
    """A file of the page.

    Attributes:
        compressed: the content as gzip, or `None` if that would save nothing.
        headers: of every response with this file.
    """

    content: bytes
    compressed: bytes | None
    headers: Mapping[str, str]

    @classmethod
    def of(cls, content: bytes, suffix: str) -> "Asset":
        """Return the asset of a file with this content."""
        headers = {
            "Content-Type": _TYPES[suffix],
            # Browsers keep the file, and check with every use whether it has changed.
            "Cache-Control": "no-cache",
            "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
            "Vary": "Accept-Encoding",
        }
        if suffix == ".html":
            headers["Content-Security-Policy"] = _policy(content)
        compressed = None if suffix in _ALREADY_COMPRESSED else gzip.compress(content, mtime=0)
        return cls(content, compressed, MappingProxyType(headers))

    def respond(self, request: Request) -> Response:
        """Return the file, or 304 if the browser has it already."""
        # A proxy that compresses marks the tag as weak.
        known = request.headers.get("if-none-match", "").removeprefix("W/")
        if known == self.headers["ETag"]:
            return Response(status_code=304, headers=dict(self.headers))
        # For `preferred_type`, an empty header accepts everything.
        codings = request.headers.get("accept-encoding") or "identity"
        accepts_gzip = preferred_type(codings, ["gzip"]) is not None
        if self.compressed is None or not accepts_gzip:
            return Response(self.content, headers=dict(self.headers))
        return Response(self.compressed, headers={**self.headers, "Content-Encoding": "gzip"})


def playground_router() -> APIRouter:
    """Return a router with the page and its assets."""
    router = APIRouter(include_in_schema=False)
    assets = {path: Asset.of(file.read_bytes(), file.suffix) for path, file in _FILES.items()}
    assets[_PUBLISHED] = Asset.of(_recorded_answers(), ".json")
    for path, asset in assets.items():
        router.get(path)(_handler(asset))
    return router


def _handler(asset: Asset) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        return asset.respond(request)

    return serve


def _policy(page: bytes) -> str:
    """Return a policy without inline styles, for a page that shows pictures of the user."""
    policy = policy_of_page(page).replace(" 'unsafe-inline'", "")
    return policy.replace("img-src 'self'", "img-src 'self' blob:")


def _recorded_answers() -> bytes:
    """Return request, text, entities and markup of the published model's recorded answers."""
    recorded: dict[str, Any] = json.loads(_RECORDED.read_bytes())
    names = ("name", "request", "text", "entities", "markup")
    answers = [{name: answer[name] for name in names} for answer in recorded["answers"]]
    return json.dumps({"model": recorded["model"], "answers": answers}).encode()
