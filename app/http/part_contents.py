"""Decodes a part of a form by its own headers: transfer encoding, charset, JSON."""

import binascii
import re
from types import MappingProxyType
from typing import Any

from app.contract.json_values import parse_json
from app.errors import InvalidRequest, MalformedBody
from app.http.json_bodies import decode_base64
from app.http.multipart import Part

_PLAIN_TRANSFER_ENCODINGS = {"", "7bit", "8bit", "binary"}
_NO_QUOTED_PRINTABLE = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]*(?:\r?\n|\Z))")
_JSON_TYPE = re.compile(r"(?:application|text)/(?:[\w.+-]+\+)?json")

# Python has codecs that need minutes for a megabyte, and codecs that are not charsets.
_CODECS = MappingProxyType(
    {
        "utf-8": "utf-8",
        "utf8": "utf-8",
        "us-ascii": "utf-8",
        "ascii": "utf-8",
        "iso-8859-1": "latin-1",
        "iso8859-1": "latin-1",
        "iso_8859-1": "latin-1",
        "latin1": "latin-1",
        "latin-1": "latin-1",
        "iso-8859-15": "iso-8859-15",
        "windows-1252": "cp1252",
        "cp1252": "cp1252",
        "utf-16": "utf-16",
        "utf-16le": "utf-16-le",
        "utf-16be": "utf-16-be",
    }
)


def bytes_of(part: Part) -> bytes:
    """Return a part's content without its transfer encoding.

    >>> bytes_of(Part("text", {"content-transfer-encoding": "base64"}, b"YSBjYXQ="))
    b'a cat'

    Raises:
        InvalidRequest: the encoding is unknown, or the content does not match it.
    """
    if part.headers.get("content-encoding", "identity").lower() != "identity":
        raise InvalidRequest(part.name, "has a Content-Encoding; send the part uncompressed")
    encoding = part.headers.get("content-transfer-encoding", "").lower()
    if encoding in _PLAIN_TRANSFER_ENCODINGS:
        return part.content
    if encoding == "base64":
        return decode_base64(part.name, part.content.decode("latin-1"))
    if encoding != "quoted-printable":
        known = "base64, quoted-printable, 7bit, 8bit or binary"
        raise InvalidRequest(part.name, f"has an unknown Content-Transfer-Encoding; use {known}")
    if _NO_QUOTED_PRINTABLE.search(part.content):
        raise InvalidRequest(part.name, "is not quoted-printable, although its headers declare it")
    return binascii.a2b_qp(part.content)


def is_text(content: bytes) -> bool:
    """Return whether bytes are text; no accepted picture format is UTF-8 without a zero byte."""
    try:
        return b"\0" not in content and content.decode() is not None
    except UnicodeDecodeError:
        return False


def text_of(part: Part) -> str:
    """Return the text of a part, without a byte-order mark.

    Raises:
        InvalidRequest: the charset is not accepted, or the part is a file of binary data.
        MalformedBody: the bytes do not match the charset.
    """
    codec = _CODECS.get(part.charset)
    if codec is None:
        message = "has a charset that is not accepted; use UTF-8 or ISO-8859-1"
        raise InvalidRequest(part.name, message)
    try:
        text = bytes_of(part).decode(codec).removeprefix("\ufeff")
    except UnicodeDecodeError:
        if part.is_file:
            raise InvalidRequest(part.name, "must be a text, not a file") from None
        raise MalformedBody(f"the field {part.name} is not {codec.upper()}") from None
    # Files of text end with a line break that the user did not type; fields do not.
    return text.strip() if part.is_file else text


def value_of(part: Part) -> Any:
    """Return the text of a part, or the string, list or object of a part with a JSON type.

    Other JSON values are returned as text, because a form's `64` and `true` look the same in JSON.

    >>> value_of(Part("text", {"content-type": "application/json"}, b'"a cat"'))
    'a cat'

    Raises:
        InvalidRequest: a header of the part is not accepted, or its content is not JSON.
        MalformedBody: the bytes do not match the charset.
    """
    text = text_of(part)
    if not _JSON_TYPE.fullmatch(part.media_type) or not text.strip():
        return text
    try:
        value = parse_json(text, accepts_infinity=True)
    except MalformedBody:
        raise InvalidRequest(
            part.name, "is not JSON, although its Content-Type declares it"
        ) from None
    if value is None:
        return ""
    return value if isinstance(value, str | list | dict) else text.strip()
