"""Parses JSON that a stranger sent, within limits."""

import json
import re
from typing import Any

from app.errors import InvalidRequest, MalformedBody, PayloadTooLarge

MAX_VALUES = 300_000
"""In one text. As many entities as can be drawn, each as an answer has it, are 250,000."""

_MAX_NAMES = 64  # in one object; more than there are, so that an unknown one is reported
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_json(text: bytes | str, *, accepts_infinity: bool = False) -> Any:
    """Return the value that JSON stands for.

    Args:
        text: bytes are UTF-8, UTF-16 or UTF-32.
        accepts_infinity: whether `NaN` and `Infinity` are numbers; JSON has none.

    Raises:
        MalformedBody: it is not JSON.
        PayloadTooLarge: it holds more values than any request needs.
        InvalidRequest: a name is twice in one object.
    """
    body = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    # To find out by parsing would take seconds, and memory many times the body's length.
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise PayloadTooLarge(f"the body may hold at most {MAX_VALUES:,} values")
    parse_constant = None if accepts_infinity else _refuse
    try:
        return json.loads(body, object_pairs_hook=_as_object, parse_constant=parse_constant)
    except (ValueError, RecursionError):
        raise MalformedBody("the body is not JSON") from None


def _as_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > _MAX_NAMES:
        raise MalformedBody(f"an object of the body has more than {_MAX_NAMES} names")
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if _LONE_SURROGATE.search(name):
            raise MalformedBody("a name in the body holds half a character (a lone surrogate)")
        if name in fields:
            raise InvalidRequest(name, "is sent twice")
        fields[name] = value
    return fields


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
