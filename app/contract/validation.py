"""Holds fields against the contract; what pydantic finds wrong becomes our own error."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.errors import FieldError, InvalidRequest

M = TypeVar("M", bound=BaseModel)
MAX_ERRORS = 100
"""Told of one request."""

_NOT_A_FIELD = "extra_forbidden"  # pydantic's name


def validate(model: type[M], fields: Mapping[str, Any], *, strict: bool) -> M:
    """Check fields.

    Args:
        model: the contract.
        fields: by name.
        strict: whether a text is no number; in a form, everything is a text.

    Raises:
        InvalidRequest: with every field that is wrong, or the first hundred of them.
    """
    try:
        # None leaves it to each field: a boolean is strict in a form too.
        return model.model_validate(fields, strict=strict or None)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)
        first, *others = (
            FieldError(_path(mistake["loc"]), _message(mistake["type"], mistake["msg"]))
            for mistake in wrong[:MAX_ERRORS]
        )
        raise InvalidRequest(first.field, first.message, *others) from None


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
