"""Checks API keys and their rate limit at the headers, before the body is read."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import RateLimited, Unauthorized
from app.http.outcomes import count_rejection
from app.http.problems import response_of
from app.http.route_table import RouteTable
from app.ipc.shared_state import SharedState
from app.settings import BATCH_MARK, MAX_API_KEYS, Settings, is_usable_key
from app.telemetry.logs import get_logger
from app.telemetry.metrics import DoorName, HttpMetrics

WINDOW_S = 60
_HEADER = "Authorization: Bearer"
_FOREIGN_HEADERS: Mapping[DoorName, str] = MappingProxyType({"moondream": "X-Moondream-Auth"})
"""The header in which the clients of a door send a key instead of `Authorization`."""


@dataclass(frozen=True)
class ApiKey:
    """An API key, of which the service keeps only a hash.

    Attributes:
        digest: SHA-256 of the key.
        is_batch_only: whether its requests are confined to the priority `batch`.
    """

    digest: bytes
    is_batch_only: bool = False

    @classmethod
    def of(cls, text: str) -> "ApiKey":
        """Return the key with this text, as a client sends it."""
        return cls(hashlib.sha256(text.encode()).digest())

    @classmethod
    def configured(cls, text: str) -> "ApiKey":
        """Return the key that an operator wrote, with or without `BATCH_MARK` before it."""
        key = cls.of(text.removeprefix(BATCH_MARK))
        return replace(key, is_batch_only=text.startswith(BATCH_MARK))

    @property
    def name(self) -> str:
        """The name of the key in logs."""
        return self.digest.hex()[:8]

    @property
    def number(self) -> int:
        """The number of the key in the shared state; never 0, which marks a free cell."""
        return int.from_bytes(self.digest[:8]) | 1


class KeyRing:
    """The keys in the settings and in a file, which may change while the service runs."""

    def __init__(self, settings: Settings) -> None:
        self._fixed = [ApiKey.configured(key.get_secret_value()) for key in settings.api_keys]
        self._file = settings.api_keys_file
        self._version: tuple[int, ...] | None = None
        self._of_file: list[ApiKey] = []
        if self._file is not None:
            self._read(self._file)  # now, so that the log of the start reports a mistake

    @property
    def is_open(self) -> bool:
        """Whether no key is required: the operator set neither keys nor a file."""
        return not self._fixed and self._file is None

    def find(self, text: str) -> ApiKey | None:
        """Return the known key with this text, or `None`."""
        self._read_again()
        sent, found = ApiKey.of(text), None
        # No early exit and a constant-time comparison, so that the time reveals nothing about keys.
        for key in (*self._fixed, *self._of_file):
            if hmac.compare_digest(key.digest, sent.digest):
                found = key
        return found

    def _read_again(self) -> None:
        if self._file is not None and _version_of(self._file) != self._version:
            self._read(self._file)

    def _read(self, file: Path) -> None:
        self._version = _version_of(file)  # first, so that a change during the reading is noticed
        self._of_file = _keys_of(file)


class ApiKeys:
    """Rejects requests whose key is unknown or over its rate, except to open paths.

    Args:
        table: has the open paths.
        state: counts the calls over all HTTP processes.
        clock: monotonic, seconds; shared by all HTTP processes.
    """

    def __init__(
        self,
        app: ASGIApp,
        table: RouteTable,
        settings: Settings,
        state: SharedState,
        metrics: HttpMetrics,
        clock: Callable[[], float],
    ) -> None:
        self._app, self._table, self._state = app, table, state
        self._metrics, self._clock = metrics, clock
        self._keys, self._limit = KeyRing(settings), settings.requests_per_minute

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or reject one request; a request that needs no key passes."""
        is_open = self._keys.is_open or scope["type"] != "http"
        if is_open or self._table.is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            key = self._admit(Headers(scope=scope), scope["state"]["door"])
        except (RateLimited, Unauthorized) as error:
            count_rejection(self._metrics, error)
            await response_of(error, scope["state"]["request_id"])(scope, receive, send)
            return
        scope["state"]["key"] = key.name  # for the log line of the request
        scope["state"]["is_batch_only"] = key.is_batch_only
        await self._app(scope, receive, send)

    def _admit(self, headers: Headers, door: DoorName) -> ApiKey:
        sent = _sent_keys(headers, door)
        # With two headers, a proxy in front of the service may have checked the other one.
        key = self._keys.find(sent[0]) if len(sent) == 1 else None
        if key is None:
            header = f"{_FOREIGN_HEADERS[door]}:" if door in _FOREIGN_HEADERS else _HEADER
            raise Unauthorized(f"send a valid API key: {header} <key>")
        if self._limit is not None:
            window, elapsed_s = divmod(self._clock(), WINDOW_S)
            if self._state.count_call(key.number, int(window)) > self._limit:
                wait_s = max(1, round(WINDOW_S - elapsed_s))
                message = f"the limit of this key is {self._limit} requests per minute"
                raise RateLimited(message, wait_s)
        return key


def _sent_keys(headers: Headers, door: DoorName) -> list[str]:
    """Return the texts of all keys in the headers; a header without one counts as empty."""
    foreign = headers.getlist(_FOREIGN_HEADERS[door]) if door in _FOREIGN_HEADERS else []
    return [*map(_bearer, headers.getlist("authorization")), *(text.strip(" ") for text in foreign)]


def _bearer(authorization: str) -> str:
    scheme, _, text = authorization.partition(" ")
    return text.strip(" ") if scheme.lower() == "bearer" else ""


def _version_of(file: Path) -> tuple[int, ...] | None:
    """Return a value that changes with the file, or `None` if the file does not exist."""
    try:
        status = file.stat()
    except OSError:
        return None
    # The time alone is not enough: tools that mount secrets may set a fixed one.
    return status.st_mtime_ns, status.st_ino, status.st_size


def _keys_of(file: Path) -> list[ApiKey]:
    """Return the keys in a file; an unreadable file has none, so every request is rejected."""
    try:
        words = file.read_text(encoding="utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as error:
        get_logger().error("API key file cannot be read", reason=type(error).__name__)
        return []
    keys = list(filter(is_usable_key, words))
    if not keys:
        get_logger().error("API key file has no key")
    if len(keys) < len(words):
        unusable = len(words) - len(keys)
        get_logger().error("API key file has keys that no client can send", num_left_out=unusable)
    if len(keys) > MAX_API_KEYS:
        get_logger().error("API key file has too many keys", num_left_out=len(keys) - MAX_API_KEYS)
    return [ApiKey.configured(key) for key in keys[:MAX_API_KEYS]]
