"""A deployment on the loopback: two replicas behind the load balancer, scraped by Prometheus."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from harness.deployment import (
    Balancer,
    Prometheus,
    running_balancer,
    running_prometheus,
)
from harness.gpu_exporter import running_gpu_exporter
from harness.replicas import Replica
from harness.requirements import require_programs
from harness.waiting import eventually

# The shipped default. It must be longer than the balancer needs to notice.
DRAIN_DELAY_S = 5


@dataclass(frozen=True)
class Deployment:
    """A running deployment.

    Attributes:
        replicas: with the embedded checkpoint, and so few permits that tests can use them up.
        gpu_exporter: host and port of the stand-in for NVIDIA's exporter.
    """

    replicas: tuple[Replica, Replica]
    balancer: Balancer
    gpu_exporter: str
    prometheus: Prometheus

    def wait_for_both(self) -> None:
        """Wait until the balancer sends requests to both replicas."""
        assert eventually(lambda: self.balancer.num_ready == len(self.replicas))


# Per module, because an idle deployment, scraped every second, costs a tenth of a core.
@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    require_programs("haproxy", "prometheus")
    folder = tmp_path_factory.mktemp("deployment")
    settings = {"drain_delay_s": DRAIN_DELAY_S, "slots": 2, "max_waiting": 6}
    with (
        Replica(**settings) as first,
        Replica(**settings) as second,
        running_balancer(folder, (first.address, second.address)) as balancer,
        running_gpu_exporter() as gpu_exporter,
        running_prometheus(
            folder, (first.address, second.address), balancer, (gpu_exporter,)
        ) as prometheus,
    ):
        running = Deployment((first, second), balancer, gpu_exporter, prometheus)
        running.wait_for_both()
        yield running
