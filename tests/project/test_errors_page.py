"""docs/errors.md has an example of every code that an answer may have."""

from pathlib import Path

from app.contract.chat_models import UNSUPPORTED_VALUE
from app.contract.detections_schema import UNSUPPORTED
from app.detect.detector import TOO_MANY_ROWS
from app.http.json_bodies import URL_NOT_ALLOWED
from app.http.problems import INTERNAL_ERROR, NOT_FOUND, PROBLEMS

PAGE = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
KINDS = {*PROBLEMS.values(), INTERNAL_ERROR, NOT_FOUND}
CODES = {kind.code for kind in KINDS} | {
    "method_not_allowed", TOO_MANY_ROWS, UNSUPPORTED, UNSUPPORTED_VALUE, URL_NOT_ALLOWED,
}  # fmt: skip


def test_every_code_is_on_the_page() -> None:
    assert [code for code in sorted(CODES) if code not in PAGE] == []
