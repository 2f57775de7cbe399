"""Reads an `application/json` body: the picture as base64 or a data URI, the fields as they are."""

import base64
import binascii
import json
import re
from typing import Any

from starlette.requests import Request

from app.errors import InvalidRequest, MalformedBody, PayloadTooLarge

MAX_VALUES = 300_000
"""In a body. As many entities as can be drawn, each as an answer has it, are 250,000."""

_MAX_NAMES = 64  # in one object; more than there are, so that an unknown one is told
_MAX_MEDIA_TYPE = 256  # characters of a data URI in front of the data
_DATA_URI = re.compile(r"data:[\w.+/-]*(?:;[\w.+-]+=[\w.+-]+)*;base64,", re.ASCII)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_WHITE_SPACE = str.maketrans("", "", " \t\r\n\f\v")


async def read_json(request: Request) -> tuple[bytes, dict[str, Any]]:
    """The picture's bytes and the other fields; `null` counts as not sent.

    Raises:
        MalformedBody: it is no JSON object.
        PayloadTooLarge: it holds more values than any request needs.
        InvalidRequest: a field is sent twice, or the picture is missing or none.
    """
    body = await request.body()
    # To find out by parsing would take seconds, and memory many times the body's length.
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise PayloadTooLarge(f"the body may hold at most {MAX_VALUES:,} values")
    try:
        content = json.loads(body, object_pairs_hook=_as_object, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise MalformedBody("the body is not JSON") from None
    if not isinstance(content, dict):
        raise MalformedBody("the body must be a JSON object")
    fields = {name: value for name, value in content.items() if value is not None}
    return take_image(fields), fields


def take_image(fields: dict[str, Any]) -> bytes:
    """The picture's bytes; takes `image` out of the fields.

    Raises:
        InvalidRequest: it is missing, or neither base64 nor a data URI.
    """
    image = fields.pop("image", None)
    if isinstance(image, str):
        image = {"url": image}
    if not isinstance(image, dict) or len(image) != 1:
        raise InvalidRequest("image", 'is required: {"base64": "…"} or {"url": "data:…"}')
    [(kind, text)] = image.items()
    if kind not in {"base64", "url"} or not isinstance(text, str):
        raise InvalidRequest("image", 'must be {"base64": "…"} or {"url": "data:…"}')
    data = decode_base64(f"image.{kind}", _of_data_uri(text) if kind == "url" else text)
    if not data:
        raise InvalidRequest("image", "must not be empty")
    return data


def decode_base64(field: str, text: str) -> bytes:
    """The bytes of base64 in the standard alphabet; padding is optional, white space is ignored.

    >>> decode_base64("image.base64", "aGVs bG8")
    b'hello'

    Raises:
        InvalidRequest: it is none.
    """
    bare = text.translate(_WHITE_SPACE).rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(field, "is not base64 in the standard alphabet") from None


def _of_data_uri(url: str) -> str:
    """What follows `data:…;base64,`: no other URL is ever followed."""
    found = _DATA_URI.match(url[:_MAX_MEDIA_TYPE])
    if found is None:
        raise InvalidRequest("image.url", "must be a data URI: data:image/…;base64,…")
    return url[found.end() :]


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
