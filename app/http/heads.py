"""Checks the head of a request, which the parser has accepted, and encodes heads."""

import re
from collections.abc import Iterable, Sequence

from app.errors import HeadersTooLarge, MalformedRequest, RequestError

_WITHOUT_PATH = re.compile(rb"^[a-z]+://[^/?]+(?=\?|$)", re.IGNORECASE)

MAX_HEADER_BYTES = 32 * 2**10
"""Request line and headers together."""


def error_of_head(
    method: bytes, version: str, url: bytes, headers: Sequence[tuple[bytes, bytes]]
) -> RequestError | None:
    """Return why a request is rejected at its headers, or `None`.

    Args:
        version: of HTTP, such as `1.1`.
        headers: names are in lower case.

    >>> str(error_of_head(b"GET", "1.1", b"/livez", []))
    'a request of HTTP/1.1 has one Host header'
    """
    size = len(url) + sum(len(name) + len(value) + 4 for name, value in headers)
    if size > MAX_HEADER_BYTES:
        return headers_too_large()
    if method == b"CONNECT":
        return MalformedRequest("CONNECT is not supported; the service is no proxy")
    if version not in {"1.0", "1.1"}:  # the parser also accepts 0.9 and 2.0
        return MalformedRequest("the version of HTTP must be 1.1 or 1.0")
    if b"#" in url:  # a proxy could read another path than the service
        return MalformedRequest("the path of a request must not contain #")
    # Servers that choose differently between two hosts can be played off against each other.
    num_hosts = sum(name == b"host" for name, _ in headers)
    if num_hosts > 1 or (num_hosts == 0 and version == "1.1"):
        return MalformedRequest("a request of HTTP/1.1 has one Host header")
    # The parser accepts more codings before the last one, but nothing would decode them.
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if codings not in ([], [b"chunked"]):
        return MalformedRequest("the only Transfer-Encoding that is supported is chunked")
    return None


def rooted(url: bytes) -> bytes:
    """Return the target of a request with a path: in a whole URL, an empty one means `/`.

    >>> rooted(b"http://a.example?b=1"), rooted(b"http://a.example/b"), rooted(b"/b")
    (b'http://a.example/?b=1', b'http://a.example/b', b'/b')
    """
    return _WITHOUT_PATH.sub(rb"\g<0>/", url)


def headers_too_large() -> HeadersTooLarge:
    """Return the error of headers over the limit."""
    return HeadersTooLarge(f"the headers may have at most {MAX_HEADER_BYTES:,} bytes")


def encode_head(first_line: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    r"""Return the bytes of a head, with the empty line at its end.

    Args:
        first_line: with its line end.

    >>> encode_head(b"GET / HTTP/1.1\r\n", [(b"host", b"x")])
    b'GET / HTTP/1.1\r\nhost: x\r\n\r\n'
    """
    return first_line + b"".join(b"%b: %b\r\n" % header for header in headers) + b"\r\n"
