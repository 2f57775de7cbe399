"""Two replicas behind the load balancer, watched by Prometheus, all of it on the loopback."""

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

# The shipped default, which has to be longer than the balancer takes to notice.
DRAIN_DELAY_S = 5


@dataclass(frozen=True)
class Deployment:
    """What runs.

    Attributes:
        replicas: the embedded checkpoint, each with few places, so that they can be filled.
        balancer: in front of them.
        gpu_exporter: where NVIDIA's exporter would be, host and port.
        prometheus: scrapes them all.
    """

    replicas: tuple[Replica, Replica]
    balancer: Balancer
    gpu_exporter: str
    prometheus: Prometheus

    def wait_for_both(self) -> None:
        """Until the balancer sends requests to both replicas."""
        assert eventually(lambda: self.balancer.num_ready == len(self.replicas))


@pytest.fixture(scope="session")
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
