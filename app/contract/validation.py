"""Checks fields against the contract and turns pydantic's errors into `InvalidRequest`."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.errors import FieldError, InvalidRequest
from app.grounding.tokenizer import LONE_SURROGATE

M = TypeVar("M", bound=BaseModel)
MAX_ERRORS = 100
"""Reported per request: a small request must not cause a huge response."""

WORD, OBJECT, LIST = "<word>", "<object>", "<list>"
"""Tags of the members of unions. Without a tag, pydantic reports the errors of every member, under
names of its own."""

_UNION_TAGS = (WORD, OBJECT, LIST)

_UNKNOWN_FIELD = "extra_forbidden"  # pydantic's name
_MISSING = "missing"  # pydantic's name
_NO_OBJECT = "model_type"  # pydantic's name
_NO_UNICODE = "string_unicode"  # pydantic's name


def validate(model: type[M], fields: Mapping[str, Any], *, strict: bool) -> M:
    """Return the fields as an instance of `model`.

    Args:
        strict: reject a text where a number is expected; `False` for forms, whose values are all
            texts.

    Raises:
        InvalidRequest: with all wrong fields, at most `MAX_ERRORS`.
    """
    try:
        # `None`, not `False`: it keeps fields strict that declare it, such as booleans.
        return model.model_validate(fields, strict=strict or None)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)
        first, *others = (
            FieldError(_path(mistake["loc"]), _message(mistake["type"], mistake["msg"]))
            for mistake in wrong[:MAX_ERRORS]
        )
        raise InvalidRequest(first.field, first.message, *others) from None


def _path(location: Sequence[int | str]) -> str:
    """Return pydantic's location in the notation of Python: `regions[0].boxes[1]`.

    >>> _path(("regions", 0, "boxes", 1))
    'regions[0].boxes[1]'
    """
    # Pydantic inserts the tag of a union, which the sender did not write.
    sent = (part for part in location if part not in _UNION_TAGS)
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in sent)
    return "".join(parts).removeprefix(".")


def _message(kind: str, message: str) -> str:
    if kind == _UNKNOWN_FIELD:
        return "is not a field of this request"
    if kind == _MISSING:
        return "is required"
    if kind == _NO_OBJECT:
        return "must be an object"
    if kind == _NO_UNICODE:
        return LONE_SURROGATE
    # Pydantic counts the items of lists "after validation", which means nothing to the sender.
    return message[:1].lower() + message[1:].replace(" after validation", "")
