"""Prometheus scrapes a real deployment with the shipped configuration."""

import math
from collections.abc import Iterator

import pytest

from harness import loopback
from harness.queries import all_queries
from harness.repeating_clients import SCENE, RepeatingClients
from harness.waiting import eventually
from tests.clients.deployment.conftest import Deployment

REFUSED = 'kosmos2_admission_rejections_total{reason="overloaded"}'
# More clients than the two replicas have permits.
TOO_MANY = 40
ORDINARY = {"task": "brief_caption"}
# Ends by its token limit, which is the outcome `length`.
SHORT = {"task": "brief_caption", "max_new_tokens": "1"}
WRONG = {"task": "dance"}


@pytest.fixture(scope="module")
def busy(deployment: Deployment) -> Iterator[Deployment]:
    """A deployment that has had requests of every kind, and keeps getting some."""
    url = deployment.balancer.url

    def send(data: dict[str, str], **headers: str) -> int:
        return loopback.post(
            f"{url}/v1/ground", files={"image": SCENE}, data=data, headers=headers, timeout=60
        ).status_code

    assert [send(ORDINARY), send(SHORT), send(WRONG)] == [200, 200, 422]
    # Expires before any work, which is the outcome `deadline`.
    assert send(ORDINARY, **{"X-Request-Timeout": "0.000001"}) == 504
    replica = deployment.replicas[0].service
    with RepeatingClients(url, TOO_MANY).running():
        assert eventually(lambda: replica.metric(REFUSED) > 0)
    # Rates need counters that keep growing while the tests query them.
    with RepeatingClients(url, 1).running():
        yield deployment


def test_replicas_balancer_and_gpus_are_scraped(deployment: Deployment) -> None:
    def health() -> dict[str, str]:
        targets = deployment.prometheus.get("targets")["activeTargets"]
        return {target["labels"]["instance"]: target["health"] for target in targets}

    replicas = [replica.address for replica in deployment.replicas]
    others = [deployment.balancer.metrics_address, deployment.gpu_exporter]
    expected = dict.fromkeys([*replicas, *others], "up")
    assert eventually(lambda: health() == expected), health()


@pytest.mark.parametrize("name", all_queries())
def test_every_query_returns_data(busy: Deployment, name: str) -> None:
    """An empty panel does not show whether the service is healthy."""

    def has_data() -> bool:
        series = busy.prometheus.query(all_queries()[name])
        return any(not math.isnan(float(point["value"][1])) for point in series)

    assert eventually(has_data, timeout_s=30), all_queries()[name]


def test_a_killed_replica_fires_its_alert(deployment: Deployment) -> None:
    """The alert ends when the replica runs again."""
    replica = deployment.replicas[0]
    assert eventually(lambda: "Kosmos2ReplicaDown" not in deployment.prometheus.firing_alerts())
    replica.kill()
    assert eventually(lambda: "Kosmos2ReplicaDown" in deployment.prometheus.firing_alerts())
    replica.start()
    deployment.wait_for_both()
    assert eventually(lambda: "Kosmos2ReplicaDown" not in deployment.prometheus.firing_alerts())
