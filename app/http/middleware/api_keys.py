"""Who may call, and how often: asked at the headers, before anything of a body is read."""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import RateLimited, Unauthorized
from app.http.outcomes import count_rejection
from app.http.problems import response_of
from app.http.routes.docs import DOCS_PATHS
from app.http.routes.ops import OPS_PATHS
from app.ipc.shared_state import SharedState
from app.settings import MAX_API_KEYS, Settings
from app.telemetry.logs import get_logger
from app.telemetry.metrics import HttpMetrics

WINDOW_S = 60
OPEN_PATHS = (*OPS_PATHS, *DOCS_PATHS, "/version", "/openapi.json")
"""Health, metrics and descriptions: nobody needs a key for them. All else needs one."""


@dataclass(frozen=True)
class ApiKey:
    """A key, known by its hash alone.

    Attributes:
        digest: SHA-256.
    """

    digest: bytes

    @classmethod
    def of(cls, text: str) -> "ApiKey":
        """The key that a text is."""
        return cls(hashlib.sha256(text.encode()).digest())

    @property
    def name(self) -> str:
        """What logs call it."""
        return self.digest.hex()[:8]

    @property
    def number(self) -> int:
        """Its number in the shared state; never 0."""
        return int.from_bytes(self.digest[:8]) | 1


class KeyRing:
    """The keys of the settings and of a file, which may change while the service runs.

    Args:
        settings: `api_keys` and `api_keys_file`.
    """

    def __init__(self, settings: Settings) -> None:
        self._fixed = [ApiKey.of(key.get_secret_value()) for key in settings.api_keys]
        self._file = settings.api_keys_file
        self._version: tuple[int, ...] | None = None
        self._of_file: list[ApiKey] = []

    @property
    def is_open(self) -> bool:
        """Whether anybody may call: no key was ever set."""
        return not self._fixed and self._file is None

    def find(self, text: str) -> ApiKey | None:
        """The known key that a text is; each is compared, in constant time."""
        self._read_again()
        sent, found = ApiKey.of(text), None
        for key in (*self._fixed, *self._of_file):
            if hmac.compare_digest(key.digest, sent.digest):
                found = key
        return found

    def _read_again(self) -> None:
        if self._file is None:
            return
        version = _version_of(self._file)
        if version != self._version:
            self._of_file = [ApiKey.of(line) for line in _lines_of(self._file)]
            self._version = version


class ApiKeys:
    """Lets requests pass whose key is known and within its rate, and those to open paths.

    Args:
        app: what comes next.
        settings: the keys and the rate.
        state: counts the calls of all HTTP processes.
        metrics: counts refusals.
        clock: monotonic, seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        state: SharedState,
        metrics: HttpMetrics,
        clock: Callable[[], float],
    ) -> None:
        self._app, self._state, self._metrics, self._clock = app, state, metrics, clock
        self._keys, self._limit = KeyRing(settings), settings.requests_per_minute

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; what needs no key passes."""
        if scope["type"] != "http" or self._keys.is_open or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        try:
            key = self._admit(Headers(scope=scope).getlist("authorization"))
        except (RateLimited, Unauthorized) as error:
            count_rejection(self._metrics, error)
            await response_of(error, scope["state"]["request_id"])(scope, receive, send)
            return
        scope["state"]["key"] = key.name
        await self._app(scope, receive, send)

    def _admit(self, authorizations: list[str]) -> ApiKey:
        # Of two, a server in front of this one may have looked at the other.
        authorization = authorizations[0] if len(authorizations) == 1 else ""
        scheme, _, text = authorization.partition(" ")
        key = self._keys.find(text.strip(" ")) if scheme.lower() == "bearer" else None
        if key is None:
            raise Unauthorized("a known key is needed: Authorization: Bearer …")
        if self._limit is not None:
            window, elapsed_s = divmod(self._clock(), WINDOW_S)
            if self._state.count_call(key.number, int(window)) > self._limit:
                wait_s = max(1, round(WINDOW_S - elapsed_s))
                raise RateLimited(f"the key may make {self._limit} requests a minute", wait_s)
        return key


def _version_of(file: Path) -> tuple[int, ...] | None:
    """What changes when a file does; none when it is gone."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def _lines_of(file: Path) -> list[str]:
    """The keys in a file; without a file that can be read, none: then nobody is let in."""
    try:
        lines = file.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        get_logger().error("keys cannot be read", reason=type(error).__name__)
        return []
    if len(lines) > MAX_API_KEYS:
        get_logger().error("keys left out", num_left_out=len(lines) - MAX_API_KEYS)
    return lines[:MAX_API_KEYS]
