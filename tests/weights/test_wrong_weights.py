"""The tests marked `weights` fail if KOSMOS2_WEIGHTS names no checkpoint."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.processes
def test_a_missing_directory_fails_every_test_of_the_weights(tmp_path: Path) -> None:
    """A skipped test would let `make test-large` pass, though it has compared nothing."""
    missing = tmp_path / "missing"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "weights", Path(__file__).parent],
        env=os.environ | {"KOSMOS2_WEIGHTS": str(missing)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"{missing}: no such directory" in done.stdout
    assert " 3 failed, 1 deselected" in done.stdout
