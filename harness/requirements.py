"""What a test needs of the machine: where it is missing, the test skips, and in CI it fails."""

import os
import shutil
from typing import NoReturn

import pytest


def skip_locally(reason: str) -> NoReturn:
    """Skip a test; fail it where `CI` is `true`, as `.ci/run` sets it: all is installed there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"missing in CI: {reason}")
    pytest.skip(reason)


def require_programs(*programs: str) -> None:
    """Skip a test, or fail it in CI, where a program is not installed."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        skip_locally(f"not installed: {', '.join(missing)} (CONTRIBUTING.md lists packages)")
