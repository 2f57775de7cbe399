"""The fixtures of tests that hold for both clients, and of tests of exports."""

from pathlib import Path

import pytest

from harness.run_files import write_run
from kosmos2_client.cli import main
from tests.kosmos2_client.callers import Use, use_async, use_sync
from tests.kosmos2_client.exports import LINES, Export


@pytest.fixture(params=[use_sync, use_async], ids=["sync", "async"])
def use(request: pytest.FixtureRequest) -> Use:
    chosen: Use = request.param
    return chosen


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run.jsonl", LINES)


@pytest.fixture
def export(run_file: Path, tmp_path: Path) -> Export:
    def call(format_name: str, *options: str, out: str = "out") -> Path:
        arguments = ["export", str(run_file), "--format", format_name, "--out", str(tmp_path / out)]
        assert main([*arguments, *options]) == 0
        return tmp_path / out

    return call
