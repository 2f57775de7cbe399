"""What every response tells browsers not to do with it."""

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
"""Unless a route says otherwise."""


def policy_of_page(page: bytes) -> str:
    """A policy that lets a page load what this service gives, and run the scripts it holds.

    >>> policy_of_page(b"<script>run()</script>").split("; ")[-1]
    "script-src 'self' 'sha256-AvyuiL0SD1mVY3NNxR+V2uo+lhk6RMFrytWmRt6CrJQ='"
    """
    digests = (hashlib.sha256(script).digest() for script in _INLINE_SCRIPT.findall(page))
    hashes = [f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    own = "connect-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'"
    return f"{_NOTHING_BUT}; {own}; script-src 'self'{''.join(hashes)}"
