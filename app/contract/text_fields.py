"""Turns the texts of a form or of a command line into the values they stand for."""

from collections.abc import Mapping
from typing import Any

from app.contract.json_values import parse_json
from app.errors import InvalidRequest, MalformedBody

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_BOOLEAN_FIELDS = ("grounding", "jpeg_round_trip", "show_scores", "stream")
_JSON_FIELDS = ("entities", "regions")


def fields_of_texts(texts: Mapping[str, str]) -> dict[str, Any]:
    """What texts stand for: those of a form, or of a command line; an empty one is not sent.

    >>> fields_of_texts({"grounding": "0", "regions": "[]", "text": ""})
    {'grounding': False, 'regions': []}

    Raises:
        InvalidRequest: a field that is JSON is not.
    """
    return {name: _from_text(name, text) for name, text in texts.items() if text != ""}


def _from_text(name: str, value: str) -> Any:
    """A form's text as the value it stands for; what stands for none is left to the validation."""
    if name in _BOOLEAN_FIELDS:
        return _BOOLEANS.get(value.strip().lower(), value)
    if name in _JSON_FIELDS:
        try:
            return parse_json(value, accepts_infinity=True)
        except MalformedBody:
            raise InvalidRequest(name, "must be JSON: a list") from None
    return value
