"""Reads an `application/json` body, whose picture is base64 or a data URI."""

import base64
import binascii
import re
from typing import Any

from starlette.requests import Request

from app.contract.json_values import parse_json
from app.errors import InvalidRequest, MalformedBody

URL_NOT_ALLOWED = "image_url_not_allowed"
_FORMS = '{"base64": "…"} or {"url": "data:…"}'
# Characters of a data URI before the data; some clients put a file name there.
_MAX_MEDIA_TYPE = 4096
_IS_DATA_URI = re.compile(r"\s*data:", re.IGNORECASE)
# Possessive quantifiers (`*+`): without them, a hostile URI would cause quadratic backtracking.
_PARAMETER = r""";\s*+(?!base64\s*,)[^,;="]+(?:=(?:"(?:[^"\\]|\\.)*+"\s*|[^,;"]*+))?+"""
_DATA_URI = re.compile(rf"\s*data:[^,;\"]*+(?:{_PARAMETER})*+;\s*base64\s*,", re.IGNORECASE)
_NO_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_WHITE_SPACE = str.maketrans("", "", " \t\r\n\f\v")


async def read_json(request: Request) -> tuple[bytes, dict[str, Any]]:
    """Return the picture's bytes and the other fields; `null` counts as not sent.

    Raises:
        MalformedBody: the body is not a JSON object.
        PayloadTooLarge: the body has more values than any request needs.
        InvalidRequest: a field is sent twice, or the picture is missing or invalid.
    """
    fields = await read_object(request)
    return take_image(fields), fields


async def read_object(request: Request) -> dict[str, Any]:
    """Return the fields of a JSON body; `null` counts as not sent.

    Raises:
        MalformedBody: the body is not a JSON object.
        PayloadTooLarge: the body has more values than any request needs.
        InvalidRequest: a field is sent twice.
    """
    content = parse_json(await request.body())
    if not isinstance(content, dict):
        raise MalformedBody("the body must be a JSON object")
    return {name: value for name, value in content.items() if value is not None}


def take_image(fields: dict[str, Any]) -> bytes:
    """Remove `image` from the fields and return the picture's bytes.

    Raises:
        InvalidRequest: `image` is missing, or is neither base64 nor a data URI.
    """
    image = fields.pop("image", None)
    if image is None:
        raise InvalidRequest("image", f"is required: {_FORMS}")
    if isinstance(image, str):
        if ":" not in image:
            raise InvalidRequest("image", 'must be {"base64": "…"} or a data URI: "data:…"')
        image = {"url": image}
    if not isinstance(image, dict) or len(image) != 1:
        raise InvalidRequest("image", f"must be {_FORMS}, and nothing else")
    [(kind, text)] = image.items()
    if kind not in {"base64", "url"} or not isinstance(text, str):
        raise InvalidRequest("image", f"must be {_FORMS}")
    data = _decode(kind, text)
    if not data:
        raise InvalidRequest("image", "is empty")
    return data


def decode_base64(field: str, text: str) -> bytes:
    """Decode base64 in the standard alphabet; padding is optional, white space is ignored.

    >>> decode_base64("image.base64", "aGVs bG8")
    b'hello'

    Raises:
        InvalidRequest: `text` is not base64.
    """
    bare = text.translate(_WHITE_SPACE).rstrip("=") if text.isascii() else text
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(field, "is not base64 in the standard alphabet") from None


def decode_data_uri(field: str, uri: str) -> bytes:
    """Return the data of a data URI; the service never fetches a URL.

    Raises:
        InvalidRequest: `uri` is another URI, or its data are empty or not base64.
    """
    if not _IS_DATA_URI.match(uri):
        message = "must be a data URI (data:image/…;base64,…): the service fetches no pictures"
        raise InvalidRequest(field, message, code=URL_NOT_ALLOWED)
    data = decode_base64(field, _base64_of_data_uri(field, uri))
    if not data:
        raise InvalidRequest(field, "is empty")
    return data


def _decode(kind: str, text: str) -> bytes:
    """Decode base64 or a data URI; `base64` may hold a data URI too, as base64 has no colon."""
    if kind == "url" or _IS_DATA_URI.match(text):
        text = _base64_of_data_uri(f"image.{kind}", text)
    return decode_base64(f"image.{kind}", text)


def _base64_of_data_uri(field: str, uri: str) -> str:
    """Return the percent-decoded data after `data:…;base64,`; the service never fetches a URL."""
    found = _DATA_URI.match(uri[:_MAX_MEDIA_TYPE])
    if found is None:
        raise InvalidRequest(field, "must be a data URI: data:image/…;base64,…")
    data = uri[found.end() :]
    return _unquote(data) if "%" in data else data


def _unquote(text: str) -> str:
    """Return a text without percent encoding; it stays as it is if an escape is malformed.

    Python's own `unquote` takes seconds and gigabytes for megabytes of escapes. Written with an
    equals sign, they are quoted-printable, for which there is a decoder in C.

    >>> _unquote("%2B%3d=")
    '+=='
    """
    if _NO_ESCAPE.search(text):
        return text
    data = text.encode(errors="replace").replace(b"=", b"=3D").replace(b"%", b"=")
    return binascii.a2b_qp(data).decode("latin-1")
