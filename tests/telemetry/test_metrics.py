"""The series of processes that have ended."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

DEAD_ENGINE = """
import os
from app.telemetry.metrics import EngineMetrics, drop_gauges_of, render_metrics

metrics = EngineMetrics()
metrics.num_requests_running.set(8)
metrics.device_memory_bytes.labels("weights").set(8)
metrics.generation_tokens_total.inc(5)
drop_gauges_of(os.getpid())
print(render_metrics()[0].decode())
"""


def test_a_dead_engine_keeps_its_counters_and_loses_its_gauges(tmp_path: Path) -> None:
    """It runs no requests, but a counter must never decrease."""
    done = subprocess.run(
        [sys.executable, "-c", DEAD_ENGINE],
        # prometheus_client reads the variable when it is imported.
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    samples = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert "kosmos2_generation_tokens_total 5.0" in samples
    assert [sample for sample in samples if sample.endswith(" 8.0")] == []
