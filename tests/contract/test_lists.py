"""Every list of a request has a largest number of items."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from tests.contract.test_unions import BODIES


def unbounded(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every list without a limit in a JSON schema, unless its items are not validated."""
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    is_list = isinstance(node, dict) and node.get("type") == "array"
    if is_list and node["items"] and "maxItems" not in node:
        yield node
    for child in children:
        yield from unbounded(child)


@pytest.mark.parametrize("body", BODIES)
def test_every_list_is_bounded(body: type[BaseModel]) -> None:
    """Pydantic reports every invalid item of a list: seconds for a body of a megabyte."""
    assert list(unbounded(body.model_json_schema())) == []
