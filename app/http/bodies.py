"""Reads a request's picture and fields: from a form, from JSON, or from a picture and a query."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request

from app.contract.text_fields import fields_of_query
from app.contract.validation import validate
from app.errors import (
    ClientDisconnected,
    InvalidRequest,
    UnsupportedContentEncoding,
    UnsupportedMediaType,
)
from app.http.forms import read_form
from app.http.json_bodies import read_json, read_object

M = TypeVar("M", bound=BaseModel)
FORM, JSON, PICTURE = "multipart/form-data", "application/json", "image/*"
_BINARY_TYPES = ("application/octet-stream", "application/x-image")


@dataclass(frozen=True)
class Sent:
    """The content of a request, not yet validated.

    Attributes:
        image: the picture's file.
        fields: all others.
        is_typed: whether the values have the types of JSON, instead of all being texts.
    """

    image: bytes
    fields: Mapping[str, Any]
    is_typed: bool = False

    def fields_as(self, model: type[M]) -> M:
        """Return the fields as an instance of `model`.

        Raises:
            InvalidRequest: a field is missing, unknown or outside its limits.
        """
        return validate(model, self.fields, strict=self.is_typed)


async def read_request(request: Request, model: type[M]) -> tuple[bytes, M]:
    """Return the picture's bytes, and the other fields as an instance of `model`.

    Args:
        request: its body must not have been read; `with_body_pace` limits how slowly it may arrive.

    Raises:
        InvalidRequest: a field is missing, unknown, sent twice or outside its limits.
        Kosmos2Error: as `read_sent`.
    """
    sent = await read_sent(request, request.url.query)
    return sent.image, sent.fields_as(model)


async def read_sent(request: Request, query: str) -> Sent:
    """Return the content of a request.

    Args:
        request: its body must not have been read.
        query: the fields, if the body is the picture itself; otherwise it is ignored.

    Raises:
        UnsupportedMediaType: the body is neither a form nor JSON nor a picture.
        UnsupportedContentEncoding: the body is compressed.
        MalformedBody: the body does not match its content type.
        RequestTimeout: the body arrived too slowly.
        DeadlineExceeded: the deadline passed before the body was complete.
        ClientDisconnected: the client closed the connection.
        InvalidRequest: the picture is missing, or a field is sent twice.
    """
    _reject_content_encoding(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == FORM:
            return Sent(*await read_form(request))
        if kind == JSON:
            return Sent(*await read_json(request), is_typed=True)
        if kind.startswith("image/") or kind in _BINARY_TYPES:
            return await _read_picture(request, query)
    except ClientDisconnect:
        raise ClientDisconnected from None
    raise UnsupportedMediaType(f"the body must be {FORM}, {JSON} or a picture ({PICTURE})")


async def _read_picture(request: Request, query: str) -> Sent:
    fields = fields_of_query(query)
    image = await request.body()
    if not image:
        raise InvalidRequest("image", "is empty: the body must be the picture")
    return Sent(image, fields)


async def read_json_fields(request: Request) -> dict[str, Any]:
    """Return the fields of a JSON body for other projects' clients; its media type is ignored.

    Raises:
        UnsupportedContentEncoding: the body is compressed.
        MalformedBody: the body is not a JSON object.
        RequestTimeout: the body arrived too slowly.
        DeadlineExceeded: the deadline passed before the body was complete.
        ClientDisconnected: the client closed the connection.
        InvalidRequest: a field is sent twice.
    """
    _reject_content_encoding(request)
    try:
        return await read_object(request)
    except ClientDisconnect:
        raise ClientDisconnected from None


def _reject_content_encoding(request: Request) -> None:
    codings = ",".join(request.headers.getlist("content-encoding")).split(",")
    if any(coding.strip().lower() not in {"", "identity"} for coding in codings):
        raise UnsupportedContentEncoding(
            "the body must not be compressed: send it without Content-Encoding"
        )
