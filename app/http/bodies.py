"""Reads a request's picture and fields, from a form or from JSON."""

from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request

from app.contract.validation import validate
from app.errors import (
    ClientDisconnected,
    UnsupportedContentEncoding,
    UnsupportedMediaType,
)
from app.http.forms import read_form
from app.http.json_bodies import read_json, read_object

M = TypeVar("M", bound=BaseModel)
FORM, JSON = "multipart/form-data", "application/json"


async def read_request(request: Request, model: type[M]) -> tuple[bytes, M]:
    """Return the picture's bytes, and the other fields as an instance of `model`.

    Args:
        request: its body must not have been read; `with_body_pace` limits how slowly it may arrive.

    Raises:
        UnsupportedMediaType: the body is neither a form nor JSON.
        UnsupportedContentEncoding: the body is compressed.
        MalformedBody: the body does not match its content type.
        RequestTimeout: the body arrived too slowly.
        DeadlineExceeded: the deadline passed before the body was complete.
        ClientDisconnected: the client closed the connection.
        InvalidRequest: a field is missing, unknown, sent twice or outside its limits.
    """
    _reject_content_encoding(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    readers = {FORM: read_form, JSON: read_json}
    if kind not in readers:
        raise UnsupportedMediaType(f"the body must be {FORM} or {JSON}")
    try:
        image, fields = await readers[kind](request)
    except ClientDisconnect:
        raise ClientDisconnected from None
    return image, validate(model, fields, strict=kind == JSON)


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
