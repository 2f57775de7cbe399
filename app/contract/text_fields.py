"""Converts the texts of a form, a query or a command line into field values."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from app.contract.json_values import parse_json
from app.detect.requests import MAX_CLASSES
from app.errors import InvalidRequest, MalformedBody

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_BOOLEAN_FIELDS = ("grounding", "jpeg_round_trip", "show_scores", "stream")
_JSON_FIELDS = ("entities", "nms", "regions")
_MAX_QUERY_FIELDS = 64


def fields_of_texts(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the fields of a form or a command line; empty texts are dropped.

    >>> fields_of_texts({"grounding": "0", "regions": "[]", "text": ""})
    {'grounding': False, 'regions': []}

    Raises:
        InvalidRequest: a JSON field does not hold JSON.
    """
    return {name: _from_text(name, text) for name, text in texts.items() if text != ""}


def fields_of_query(query: str) -> dict[str, Any]:
    """Return the values of the fields of a query string, such as that of a URL.

    >>> fields_of_query("task=raw&text=a%20cat&grounding=0")
    {'task': 'raw', 'text': 'a cat', 'grounding': False}

    Raises:
        InvalidRequest: a field is sent twice, or a JSON field does not hold JSON.
    """
    try:
        pairs = parse_qsl(query, errors="strict", max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError:
        message = f"must be UTF-8 with at most {_MAX_QUERY_FIELDS} fields"
        raise InvalidRequest("query", message) from None
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise InvalidRequest(name, "is sent twice")
    return fields_of_texts(dict(pairs))


def _from_text(name: str, value: str) -> Any:
    """Return the value of a text; an invalid text stays as it is, for the validation to report."""
    if name in _BOOLEAN_FIELDS:
        return _BOOLEANS.get(value.strip().lower(), value)
    if name in _JSON_FIELDS:
        return _parse(name, value)
    if name == "classes":
        return _parse(name, value) if value.lstrip().startswith("[") else _split(value)
    if name == "tiles" and value.lstrip().startswith("{"):
        return _parse(name, value)
    return value


def _parse(name: str, value: str) -> Any:
    try:
        return parse_json(value, accepts_infinity=True)
    except MalformedBody:
        raise InvalidRequest(name, "must be JSON") from None


def _split(value: str) -> list[str]:
    """Return the names between commas; at most one more than a request may have.

    >>> _split("red circle, blue square"), len(_split("," * 10**6))
    (['red circle', 'blue square'], 65)
    """
    return [name.strip() for name in value.split(",", MAX_CLASSES)]
