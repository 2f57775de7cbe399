"""Parses untrusted JSON within limits."""

import json
import re
from typing import Any

from app.errors import InvalidRequest, MalformedBody, PayloadTooLarge

MAX_VALUES = 300_000
"""Per JSON text. The largest valid request, with every entity that can be drawn, has 250,000."""

# Per object. Larger than any object that clients of other projects send: 300 tokens with a
# `logit_bias`, a few hundred properties of a tool's parameters.
_MAX_NAMES = 1_024
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_json(text: bytes | str, *, accepts_infinity: bool = False) -> Any:
    """Return the parsed value of a JSON text.

    Args:
        text: bytes are UTF-8, UTF-16 or UTF-32.
        accepts_infinity: whether `NaN` and `Infinity`, which are not JSON, count as numbers.

    Raises:
        MalformedBody: `text` is not JSON.
        PayloadTooLarge: `text` has more values than any request needs.
        InvalidRequest: an object has the same name twice.
    """
    # "surrogatepass": `_as_object` reports lone surrogates in names, the validation those in texts.
    body = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    # Count before parsing: parsing millions of values takes seconds and many times the memory.
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise PayloadTooLarge(f"the body may hold at most {MAX_VALUES:,} values")
    parse_constant = None if accepts_infinity else _reject
    try:
        return json.loads(body, object_pairs_hook=_as_object, parse_constant=parse_constant)
    except (ValueError, RecursionError):
        raise MalformedBody("the body is not JSON") from None


def _as_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > _MAX_NAMES:
        raise MalformedBody(f"an object in the body has more than {_MAX_NAMES:,} names")
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if _LONE_SURROGATE.search(name):
            # Such a name could not be encoded into the error response that repeats it.
            raise MalformedBody("a name in the body has half a character (a lone surrogate)")
        if name in fields:
            raise InvalidRequest(name, "is sent twice")
        fields[name] = value
    return fields


def _reject(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
