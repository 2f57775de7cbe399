"""Workloads consist of requests that the service accepts."""

import pytest

from app.bench.workload import LoadRequest, embedded_scenes, mixed_workload
from app.contract.request_models import GroundBody
from app.contract.text_fields import fields_of_texts
from app.contract.validation import validate
from app.grounding.tasks import TASKS


def workload(seed: int = 0) -> list[LoadRequest]:
    return mixed_workload(embedded_scenes(), count=120, seed=seed)


def test_every_task_but_raw_has_an_equal_share() -> None:
    """A raw prompt can be any of the others."""
    counts = {name: 0 for name in TASKS if name != "raw"}
    for request in workload():
        counts[request.task] += 1
    assert set(counts.values()) == {20}


def test_all_requests_are_valid() -> None:
    """A load of rejected requests would measure nothing."""
    for request in workload():
        body = validate(GroundBody, fields_of_texts(request.fields), strict=False)
        assert body.to_request(request.picture).task.name == request.task


def test_all_scenes_are_used() -> None:
    """The embedded checkpoint has five scenes."""
    assert {request.picture for request in workload()} == set(embedded_scenes())
    assert len(set(embedded_scenes())) == 5


@pytest.mark.parametrize(("seed", "is_equal"), [(0, True), (1, False)])
def test_a_workload_depends_on_its_seed_alone(seed: int, is_equal: bool) -> None:
    """So two services can be compared on the same requests."""
    assert (workload(seed) == workload()) is is_equal
