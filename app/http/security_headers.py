"""Headers that forbid browsers to cache, frame or execute responses."""

import base64
import hashlib
import re
from collections.abc import Mapping
from types import MappingProxyType

_NOTHING_BUT = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)

SECURITY_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Cache-Control": "no-store",
        "Content-Security-Policy": _NOTHING_BUT,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
)
"""Defaults of every response; a route can replace them."""


def policy_of_page(page: bytes) -> str:
    """Return a policy that allows a page its inline scripts and resources of this service only.

    >>> policy_of_page(b"<script>run()</script>").split("; ")[-1]
    "script-src 'self' 'sha256-AvyuiL0SD1mVY3NNxR+V2uo+lhk6RMFrytWmRt6CrJQ='"
    """
    digests = (hashlib.sha256(script).digest() for script in _INLINE_SCRIPT.findall(page))
    hashes = [f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    own = "connect-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'"
    return f"{_NOTHING_BUT}; {own}; script-src 'self'{''.join(hashes)}"
