"""Requirements of tests on the machine: if one is missing, the test is skipped, and fails in CI."""

import os
import shutil
from typing import NoReturn

import pytest

IN_CI = os.environ.get("CI") == "true"
"""Whether `.ci/run` runs the tests, on a machine where everything is installed."""


def skip_locally(reason: str) -> NoReturn:
    """Skip a test, or fail it in CI."""
    if IN_CI:
        pytest.fail(f"missing in CI: {reason}")
    pytest.skip(reason)


def require_programs(*programs: str) -> None:
    """Skip a test, or fail it in CI, if a program is not installed."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        skip_locally(f"not installed: {', '.join(missing)} (CONTRIBUTING.md lists packages)")
