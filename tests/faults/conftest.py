"""Services that several tests of faults share; tests compare counters with earlier values."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.processes import FAULTY_ENGINE
from harness.service import RunningService, running_service

LONG_DEADLINE_S = 900


@pytest.fixture(scope="package")
def service(endless_checkpoint: Path) -> Iterator[RunningService]:
    """A service whose deadline is longer than restarts of its engine."""
    with running_service(model=endless_checkpoint, deadline_s=LONG_DEADLINE_S) as running:
        yield running


@pytest.fixture(scope="package")
def faulty_service(endless_checkpoint: Path) -> Iterator[RunningService]:
    """A service whose engine fails on request; see `harness.faulty_engine`."""
    program = ("harness.serve_with_engine", FAULTY_ENGINE)
    with running_service(*program, model=endless_checkpoint, deadline_s=LONG_DEADLINE_S) as running:
        yield running
