"""Reads a `multipart/form-data` body: the picture's bytes, and the fields of the contract."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from app.errors import FieldError, InvalidRequest, UnsupportedMediaType
from app.http.schemas import GroundBody

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_BOOLEAN_FIELDS = ("grounding", "jpeg_round_trip", "stream")
_MAX_FIELDS = 32  # twice as many as there are, so that an unknown one is told by its name
_NOT_A_FIELD = "extra_forbidden"  # pydantic's name


async def read_form(request: Request) -> FormData:
    """Read the body.

    Raises:
        UnsupportedMediaType: it is of another type.
        MalformedBody: it is no multipart body.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise UnsupportedMediaType("the body must be multipart/form-data")
    # Starlette's own HTTPException tells a body that is broken; its handler makes it a problem.
    return await request.form(max_files=2, max_fields=_MAX_FIELDS)


async def parse_form(form: FormData) -> tuple[bytes, GroundBody]:
    """The picture's bytes and the other fields.

    Raises:
        InvalidRequest: a field is missing, unknown, sent twice or out of its limits.
    """
    counts = Counter(name for name, _ in form.multi_items())
    twice = [FieldError(name, "is sent twice") for name, count in counts.items() if count > 1]
    if twice:
        raise InvalidRequest(twice[0].field, twice[0].message, *twice[1:])
    texts: dict[str, str] = {}
    image = b""
    for name, value in form.multi_items():
        if name == "image":
            image = await _read_image(value)
        elif isinstance(value, UploadFile):
            raise InvalidRequest(name, "must be a text, not a file")
        else:
            texts[name] = value
    if not image:
        raise InvalidRequest("image", "is required: a file")
    return image, parse_fields(texts)


def parse_fields(texts: Mapping[str, str]) -> GroundBody:
    """Check fields, given as texts, against the contract; an empty one counts as not sent.

    Raises:
        InvalidRequest: with every field that is wrong.
    """
    fields = {name: _from_text(name, text) for name, text in texts.items() if text != ""}
    try:
        return GroundBody.model_validate(fields)
    except ValidationError as error:
        first, *others = (
            FieldError(_path(each["loc"]), _message(each["type"], each["msg"]))
            for each in error.errors(include_url=False, include_context=False, include_input=False)
        )
        raise InvalidRequest(first.field, first.message, *others) from None


async def _read_image(value: UploadFile | str) -> bytes:
    if not isinstance(value, UploadFile):
        raise InvalidRequest("image", "must be a file")
    return await value.read()


def _from_text(name: str, value: str) -> Any:
    """A form's text as the value it stands for; what stands for none is left to the validation."""
    if name in _BOOLEAN_FIELDS:
        return _BOOLEANS.get(value.strip().lower(), value)
    if name == "regions":
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise InvalidRequest("regions", "must be JSON: a list of regions") from None
    return value


def _path(location: Sequence[int | str]) -> str:
    """Pydantic's location as one would write it: `regions[0].boxes[1]`.

    >>> _path(("regions", 0, "boxes", 1))
    'regions[0].boxes[1]'
    """
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).removeprefix(".")


def _message(kind: str, message: str) -> str:
    if kind == _NOT_A_FIELD:
        return "is not a field of this request"
    return message[:1].lower() + message[1:]
