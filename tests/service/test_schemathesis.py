"""The service keeps to its own description, whatever is sent: no 5xx, no undocumented answer."""

from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from harness.service import RunningService

DESCRIPTION = Path(__file__).parents[2] / "docs" / "openapi.json"
# A schema cannot say which fields go together, nor that bytes have to be a picture.
_BEYOND_A_SCHEMA = [positive_data_acceptance]
_BODY = "requestBody"

OPERATIONS = [
    result.ok() for result in schemathesis.openapi.from_path(DESCRIPTION).get_all_operations()
]


def test_every_operation_is_tried() -> None:
    assert {operation.path for operation in OPERATIONS} >= {"/v1/ground", "/v1/annotate"}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_every_answer_is_a_documented_one(
    service: RunningService, operation: schemathesis.schemas.APIOperation
) -> None:
    """All of schemathesis' checks, but for one where there is a body."""
    excluded = _BEYOND_A_SCHEMA if _BODY in operation.definition.raw else []

    @given(case=operation.as_strategy())
    @settings(max_examples=25, suppress_health_check=list(HealthCheck), derandomize=True)
    def try_one(case: schemathesis.Case) -> None:
        case.call_and_validate(base_url=service.url, excluded_checks=excluded)

    try_one()
