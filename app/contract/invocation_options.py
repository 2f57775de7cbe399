"""Checks the fields that `/invocations` uses for a picture without any, before a service starts."""

from app.contract.detect_models import DetectBody
from app.contract.request_models import GroundBody
from app.contract.text_fields import fields_of_query
from app.contract.validation import validate
from app.errors import InvalidRequest, StartupError
from app.grounding.prompts import check_fields


def check_invocation_options(options: str) -> None:
    """Check a query string; an empty one is allowed, so that each request has to have fields.

    Raises:
        StartupError: a field is missing, unknown or outside its limits.
    """
    if not options:
        return
    try:
        fields = fields_of_query(options)
        if "classes" in fields:
            validate(DetectBody, fields, strict=False)
        else:
            check_fields(validate(GroundBody, fields, strict=False).to_request(b""))
    except InvalidRequest as error:
        raise StartupError(f"KOSMOS2_INVOCATION_OPTIONS={options}: {error}") from None
