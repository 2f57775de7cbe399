"""The service follows its OpenAPI document for any input: no 5xx, no undocumented response."""

from collections.abc import MutableMapping
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from harness.service import RunningService

DESCRIPTION = Path(__file__).parents[2] / "docs" / "openapi.json"
# A schema cannot express which fields exclude each other, that bytes have to be a picture, or which
# model is served.
_BEYOND_A_SCHEMA = [positive_data_acceptance]
_BODY = "requestBody"
_TIMEOUT = "X-Request-Timeout"

OPERATIONS = [
    result.ok() for result in schemathesis.openapi.from_path(DESCRIPTION).get_all_operations()
]


def test_the_document_has_the_main_operations() -> None:
    assert {operation.path for operation in OPERATIONS} >= {
        "/v1/ground",
        "/v1/annotate",
        "/v1/detect",
    }


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_every_response_is_documented(
    service: RunningService, operation: schemathesis.schemas.APIOperation
) -> None:
    """All checks of schemathesis, except one for operations with a body or a name."""
    has_more = _BODY in operation.definition.raw or "{" in operation.path
    excluded = _BEYOND_A_SCHEMA if has_more else []

    @given(case=operation.as_strategy())
    @settings(max_examples=25, suppress_health_check=list(HealthCheck), derandomize=True)
    def check_case(case: schemathesis.Case) -> None:
        _lengthen_timeout(case.headers)
        case.call_and_validate(base_url=service.url, excluded_checks=excluded)

    check_case()


def _lengthen_timeout(headers: MutableMapping[str, str]) -> None:
    """Replace a valid time limit by a long one: 504 is right for a short one, but a check fails."""
    try:
        is_valid = float(headers[_TIMEOUT]) > 0
    except (KeyError, ValueError):
        return
    if is_valid:
        headers[_TIMEOUT] = "600"
