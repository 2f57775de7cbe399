"""Tests that start processes have a marker, so that `make test-fast` can skip them."""

import subprocess
import sys

import pytest

PROGRAM = [sys.executable, "-c", ""]


def test_a_test_without_the_marker_cannot_start_a_process() -> None:
    with pytest.raises(AssertionError, match="marker `processes`"):
        subprocess.run(PROGRAM, check=True)


@pytest.mark.processes
def test_a_test_with_the_marker_can_start_a_process() -> None:
    subprocess.run(PROGRAM, check=True)
