"""Short runs of overload and soak: their measurements and the violations that they report."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from app.bench.results import Percentiles
from harness.service import RunningService, running_service
from reliability.door_load import WRITERS, posted_paths
from reliability.overload import FACTORS, Offer, Overload, measure_overload
from reliability.processes import ServiceProcesses
from reliability.soak import run_soak
from reliability.soak_plot import draw_soak

FAST = Percentiles(0.1, 0.2, 0.4, 0.5)
SLOW = Percentiles(0.1, 0.2, 4.0, 5.0)
CALM = Offer(1, 10.0, 10.0, FAST, 0.0, {}, None, 0, 0.01, 0.001)
FULL = Offer(3, 30.0, 9.5, FAST, 0.68, {"overloaded": 400}, (2, 2, 3), 0, 0.03, 0.001)


@pytest.fixture(scope="module")
def service() -> Iterator[RunningService]:
    """A service with so few slots that they are taken within a second."""
    with running_service(slots=2, max_waiting=2) as running:
        yield running


def test_a_full_service_refuses_at_once_with_retry_after(service: RunningService) -> None:
    """There are no other refusals and no failures."""
    overload = asyncio.run(measure_overload(service, seconds=3))
    most = overload.offers[-1]
    assert [offer.factor for offer in overload.offers] == list(FACTORS)
    assert overload.capacity == 4
    assert overload.capacity_per_s > 0
    assert most.refused_share > 0
    assert most.codes.keys() == {"overloaded"}
    assert most.num_without_retry_after == 0
    assert most.goodput_per_s > 0


def test_every_door_of_a_full_service_refuses_with_retry_after(service: RunningService) -> None:
    """In the shape of each door; nothing else is refused."""
    overload = asyncio.run(measure_overload(service, seconds=2, through_all_doors=True))
    most = overload.offers[-1]
    assert most.codes.keys() == {"overloaded"}
    assert most.num_without_retry_after == 0
    assert most.goodput_per_s > 0


def test_every_route_that_runs_the_model_is_part_of_the_load() -> None:
    assert WRITERS.keys() == set(posted_paths())


@pytest.mark.parametrize(
    ("offer", "complaint"),
    [
        (replace(FULL, goodput_per_s=8.9), "goodput at 3x is 89% of that at 1x"),
        (replace(FULL, latency_s=SLOW), "p99 at 3x is 4.00 s"),
        (replace(FULL, codes={"overloaded": 400, "internal_error": 1}), "failed for other reasons"),
        (replace(FULL, num_without_retry_after=1), "1 refusals have no Retry-After"),
    ],
)
def test_overload_reports_each_violation(offer: Offer, complaint: str) -> None:
    """It reports no others."""
    assert Overload(10.0, 20, 2.0, [CALM, FULL]).violations == []
    (violation,) = Overload(10.0, 20, 2.0, [CALM, offer]).violations
    assert complaint in violation


def test_the_processes_of_a_service_and_their_usage_are_found(service: RunningService) -> None:
    """Soak and chaos depend on it."""
    usage = ServiceProcesses(service.process.pid).usage()
    assert usage["supervisor"].num_processes == 1
    assert usage["engine"].num_processes == 1
    assert usage["http"].num_processes == 1
    assert usage["picture"].num_processes >= 1
    supervisor = psutil.Process(service.process.pid)
    assert 0 < usage["supervisor"].resident_bytes <= supervisor.memory_info().rss
    assert usage["http"].num_descriptors > 0
    assert usage["engine"].num_threads > 0


def test_a_soak_samples_all_processes_every_few_seconds(
    service: RunningService, tmp_path: Path
) -> None:
    """Each sample is written at once, so that a crash of the machine loses none."""
    file = tmp_path / "looks.jsonl"
    rows, result = asyncio.run(run_soak(service, 11, file))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["at_s"] for line in lines] == [row.at_s for row in rows]
    assert len(rows) == 2
    assert all(usage.resident_bytes > 0 for usage in rows[0].processes.values())
    assert rows[0].processes.keys() == {"supervisor", "engine", "http", "picture"}
    assert result.num_good > 0
    assert result.errors.keys() <= {"overloaded"}
    draw_soak(rows, tmp_path / "soak.png")
    assert (tmp_path / "soak.png").stat().st_size > 0
