"""What both clients do with httpx: options, requests, and the meaning of its exceptions."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import httpx

from kosmos2_client.calls import Call
from kosmos2_client.errors import ConnectionFailed, InvalidInput, InvalidUrl
from kosmos2_client.replies import Reply

MAX_PORT = 65_535
_CONNECT_S = 10.0
# The caller decides how many requests it sends at once; idle connections end before the service
# closes them (75 s by default).
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=30.0)


@dataclass(frozen=True)
class Endpoint:
    """A service.

    Attributes:
        url: base URL; it may have a path.
        api_key: sent as a bearer token, if the service requires keys.

    Raises:
        InvalidUrl: the URL is not one of HTTP.
        InvalidInput: the key has characters that a header cannot hold.
    """

    url: str
    api_key: str | None = None

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise InvalidUrl(f"the URL must start with http:// or https://, not {self.url!r}")
        try:
            url = httpx.URL(self.url)
            has_host = bool(url.host)  # decodes an international name, which may be invalid
        except (httpx.InvalidURL, ValueError) as error:
            raise InvalidUrl(f"the URL {self.url!r} is invalid: {error}") from None
        if not has_host or (url.port or 0) > MAX_PORT:
            raise InvalidUrl(f"the URL {self.url!r} has no host, or no valid port")
        if url.query or url.fragment:
            raise InvalidUrl(f"the URL {self.url!r} must end with its path: no ? and no #")
        if self.api_key is not None and not fits_header(self.api_key):
            raise InvalidInput("the API key may only have printable ASCII characters")

    def options(self) -> dict[str, Any]:
        """Return the arguments of `httpx.Client` and `httpx.AsyncClient`."""
        headers = {} if self.api_key is None else {"Authorization": f"Bearer {self.api_key}"}
        # With a slash at its end, httpx appends paths to the path of the base.
        return {"base_url": self.url.rstrip("/") + "/", "headers": headers, "limits": _LIMITS}


@contextmanager
def errors_of_environment() -> Iterator[None]:
    """Let a block create a client of httpx, which reads proxies and certificates.

    Raises:
        InvalidInput: httpx cannot use them.
    """
    try:
        yield
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        message = "proxies (HTTP_PROXY, ALL_PROXY, NO_PROXY, …) or certificates (SSL_CERT_FILE, …)"
        raise InvalidInput(f"{message} of the environment cannot be used: {error}") from None


def fits_header(text: str) -> bool:
    r"""Return whether a header can hold a text.

    >>> fits_header("key"), fits_header("schlüssel"), fits_header("a\nb")
    (True, False, False)
    """
    return text.isascii() and text.isprintable()


def build_request(
    http: httpx.Client | httpx.AsyncClient, call: Call[Any], timeout_s: float
) -> httpx.Request:
    """Return the request of a call, with its whole body in memory.

    Raises:
        InvalidInput: a text cannot be encoded.
    """
    arguments: dict[str, Any] = {
        "headers": {"Accept": call.accept},
        "timeout": httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
    }
    if call.image is not None:
        arguments["files"] = {"image": ("image", call.image, "application/octet-stream")}
        arguments["data"] = call.fields
    try:
        request = http.build_request(call.method, _url_of(http.base_url, call.path), **arguments)
    except UnicodeEncodeError:
        raise InvalidInput("a text has a lone surrogate, which is no character") from None
    request.read()  # otherwise httpx sends each part of the form with calls of its own
    return request


@lru_cache
def _url_of(base: httpx.URL, path: str) -> httpx.URL:
    """Return the URL of a path; httpx would parse the same one for each request."""
    return base.join(path.lstrip("/"))


def reply_of(response: httpx.Response, content: bytes) -> Reply:
    """Return a response with its content."""
    return Reply(response.status_code, content, response.headers.get("Retry-After"))


def has_events(response: httpx.Response) -> bool:
    """Return whether a response is a stream of events; a proxy may answer with a page instead."""
    media_type: str = response.headers.get("Content-Type", "")
    return response.is_success and media_type.lower().startswith("text/event-stream")


def open_reply_of(response: httpx.Response) -> Reply:
    """Return a successful response whose content has not been read."""
    return Reply(response.status_code, b"", stream=response)


def failure_of(error: httpx.HTTPError) -> ConnectionFailed:
    """Return the error of this package for an exception of httpx."""
    if isinstance(error, httpx.TimeoutException):
        return ConnectionFailed(f"the service did not answer in time ({type(error).__name__})")
    return ConnectionFailed(f"no complete answer: {str(error) or type(error).__name__}")
