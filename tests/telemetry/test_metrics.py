"""The series of processes that have ended, and the range of the histograms."""

import os
import subprocess
import sys
from math import inf
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Metric

from app.settings import Settings
from app.telemetry.metrics import EngineMetrics, HttpMetrics

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


@pytest.mark.processes
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


def finite_bounds(histogram: Metric) -> list[float]:
    """Return the upper bounds of a histogram's buckets."""
    bounds = [float(sample.labels.get("le", inf)) for sample in histogram.samples]
    return [bound for bound in bounds if bound < inf]


def test_every_time_up_to_the_default_deadline_has_a_bucket() -> None:
    """Prometheus shows a quantile above the last bucket as the bound of that bucket."""
    registry = CollectorRegistry()
    HttpMetrics(registry).e2e_request_latency_seconds.labels("brief_caption")
    EngineMetrics(registry).engine_step_seconds.labels("decode")
    last_bounds = {
        metric.name: max(finite_bounds(metric))
        for metric in registry.collect()
        if metric.type == "histogram" and metric.name.endswith("_seconds")
    }
    assert len(last_bounds) == 8
    assert min(last_bounds.values()) >= Settings().deadline_s, last_bounds
