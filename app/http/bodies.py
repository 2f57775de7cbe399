"""Reads a request's picture and fields, from a form or from JSON."""

from typing import TypeVar

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request

from app.contract.validation import validate
from app.errors import (
    ClientLeft,
    UnsupportedContentEncoding,
    UnsupportedMediaType,
)
from app.http.forms import read_form
from app.http.json_bodies import read_json

M = TypeVar("M", bound=BaseModel)
FORM, JSON = "multipart/form-data", "application/json"


async def read_request(request: Request, model: type[M]) -> tuple[bytes, M]:
    """Return the picture's bytes, and the fields checked against the contract.

    Args:
        request: whose body has not been read; see `with_body_pace` for how slowly it may arrive.
        model: the contract.

    Raises:
        UnsupportedMediaType: the body is neither a form nor JSON.
        UnsupportedContentEncoding: the body is compressed.
        MalformedBody: it is not what its type says.
        RequestTimeout: it arrived too slowly.
        DeadlineExceeded: it did not arrive before the deadline.
        ClientLeft: the client closed the connection.
        InvalidRequest: a field is missing, unknown, sent twice or out of its limits.
    """
    _refuse_content_encoding(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    readers = {FORM: read_form, JSON: read_json}
    if kind not in readers:
        raise UnsupportedMediaType(f"the body must be {FORM} or {JSON}")
    try:
        image, fields = await readers[kind](request)
    except ClientDisconnect:
        raise ClientLeft from None
    return image, validate(model, fields, strict=kind == JSON)


def _refuse_content_encoding(request: Request) -> None:
    codings = ",".join(request.headers.getlist("content-encoding")).split(",")
    if any(coding.strip().lower() not in {"", "identity"} for coding in codings):
        raise UnsupportedContentEncoding(
            "the body must not be compressed: send it without Content-Encoding"
        )
