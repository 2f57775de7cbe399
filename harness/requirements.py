"""Requirements of tests on the machine: if one is missing, the test is skipped, and fails in CI."""

import os
import shutil
from typing import NoReturn

import pytest


def skip_locally(reason: str) -> NoReturn:
    """Skip a test, or fail it if `CI` is `true`, as `.ci/run` sets it, where all is installed."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"missing in CI: {reason}")
    pytest.skip(reason)


def require_programs(*programs: str) -> None:
    """Skip a test, or fail it in CI, if a program is not installed."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        skip_locally(f"not installed: {', '.join(missing)} (CONTRIBUTING.md lists packages)")
