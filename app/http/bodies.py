"""Reads a request: its picture and its fields, from a form or from JSON, in the time it has."""

import asyncio
from typing import TypeVar

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request

from app.contract.validation import validate
from app.errors import (
    ClientLeft,
    RequestTimeout,
    UnsupportedContentEncoding,
    UnsupportedMediaType,
)
from app.http.forms import read_form
from app.http.json_bodies import read_json

M = TypeVar("M", bound=BaseModel)
FORM, JSON = "multipart/form-data", "application/json"


async def read_request(request: Request, model: type[M], timeout_s: float) -> tuple[bytes, M]:
    """The picture's bytes, and the fields checked against the contract.

    Args:
        request: whose body has not been read.
        model: the contract.
        timeout_s: until the body has to be complete.

    Raises:
        UnsupportedMediaType: the body is neither a form nor JSON.
        UnsupportedContentEncoding: the body is compressed.
        MalformedBody: it is not what its type says.
        RequestTimeout: it was not complete in time.
        ClientLeft: it will never be.
        InvalidRequest: a field is missing, unknown, sent twice or out of its limits.
    """
    _refuse_content_encoding(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    readers = {FORM: read_form, JSON: read_json}
    if kind not in readers:
        raise UnsupportedMediaType(f"the body must be {FORM} or {JSON}")
    try:
        async with asyncio.timeout(timeout_s):
            image, fields = await readers[kind](request)
    except TimeoutError:
        raise RequestTimeout("the body was not complete in time") from None
    except ClientDisconnect:
        raise ClientLeft from None
    return image, validate(model, fields, strict=kind == JSON)


def _refuse_content_encoding(request: Request) -> None:
    codings = ",".join(request.headers.getlist("content-encoding")).split(",")
    if any(coding.strip().lower() not in {"", "identity"} for coding in codings):
        raise UnsupportedContentEncoding(
            "the body must not be compressed: send it without Content-Encoding"
        )
