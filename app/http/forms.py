"""Reads a `multipart/form-data` body into the picture's bytes and the values of the fields."""

from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from app.contract.detect_models import DetectBody
from app.contract.request_models import AnnotateBody, GroundBody
from app.contract.text_fields import fields_of_texts
from app.errors import FieldError, InvalidRequest, MalformedBody, UnsupportedMediaType
from app.http.multipart import Part, read_parts
from app.http.part_contents import bytes_of, is_text, value_of

_IMAGE = "image"
# 2 pictures are reported as a duplicate field; with more, the form is rejected as a whole.
_MAX_IMAGES = 2
_FIELDS = {name for body in (GroundBody, AnnotateBody, DetectBody) for name in body.model_fields}
_CHARSETS = (b"utf-8", b"utf8", b"us-ascii")


async def read_form(request: Request) -> tuple[bytes, dict[str, Any]]:
    """Return the picture's bytes and the other fields.

    Raises:
        UnsupportedMediaType: the form's charset is not UTF-8.
        MalformedBody: the body is not a valid multipart form, or is truncated.
        InvalidRequest: a field is sent twice, a part does not match its headers, or the picture is
            missing.
    """
    content_type = request.headers["content-type"]
    _, parameters = parse_options_header(content_type)
    if parameters.get(b"charset", b"utf-8").lower() not in _CHARSETS:
        raise UnsupportedMediaType("the charset of a form must be UTF-8")
    async with aclosing(request.stream()) as stream:
        parts = await read_parts(content_type, stream)
    _reject_duplicates(parts)
    return _read_all(parts)


def _reject_duplicates(parts: Sequence[Part]) -> None:
    counts = Counter(part.name for part in parts)
    if counts[_IMAGE] > _MAX_IMAGES:
        raise MalformedBody("the form has more than one picture; send one per request")
    duplicates = [FieldError(name, "is sent twice") for name, count in counts.items() if count > 1]
    _raise_any(duplicates)


def _read_all(parts: Sequence[Part]) -> tuple[bytes, dict[str, Any]]:
    image = b""
    values: dict[str, Any] = {}
    errors: list[FieldError] = []
    for part in parts:
        try:
            if part.name == _IMAGE:
                image = _read_image(part)
            else:
                values[part.name] = _read_field(part)
        except InvalidRequest as error:
            errors += error.errors
    if not any(part.name == _IMAGE for part in parts):
        errors.append(FieldError(_IMAGE, "is required: send a file"))
    _raise_any(errors)
    texts = {name: value for name, value in values.items() if isinstance(value, str)}
    parsed = {name: value for name, value in values.items() if name not in texts}
    return image, parsed | fields_of_texts(texts)


def _read_image(part: Part) -> bytes:
    """Return the picture; the parameters of its part do not matter, `filename` is optional."""
    content = bytes_of(part)
    if not content:
        raise InvalidRequest(_IMAGE, "is empty")
    if not part.is_file and is_text(content):
        message = "must be the bytes of a file, not text; send base64 in a JSON body"
        raise InvalidRequest(_IMAGE, message)
    return content


def _read_field(part: Part) -> Any:
    if part.name in _FIELDS:
        return value_of(part)
    if part.is_file or not is_text(part.content):
        message = f"is not a field of this request; send the picture in the field {_IMAGE}"
        raise InvalidRequest(part.name, message)
    return part.content.decode()  # the validation reports it as an unknown field


def _raise_any(errors: Sequence[FieldError]) -> None:
    if errors:
        first, *others = errors
        raise InvalidRequest(first.field, first.message, *others)
