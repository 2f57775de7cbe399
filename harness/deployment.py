"""The load balancer and Prometheus, real ones, with the configuration that is shipped."""

import json
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from harness.waiting import eventually

DEPLOY = Path(__file__).parents[1] / "deploy"
# Where the shipped files say that the replicas and the balancer are.
REPLICAS = ("kosmos2-1:8000", "kosmos2-2:8000")
REQUESTS, METRICS = "bind :8080", "bind :8405"


@dataclass(frozen=True)
class Balancer:
    """A load balancer that runs.

    Attributes:
        url: where clients send their requests.
        metrics_address: where Prometheus finds it, host and port.
    """

    url: str
    metrics_address: str
    log_file: Path

    @property
    def num_ready(self) -> float:
        """How many replicas it takes for ready."""
        return self.metric("haproxy_backend_active_servers", proxy="replicas")

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the series of that name that have these labels among theirs."""
        text = httpx.get(f"http://{self.metrics_address}/metrics").text
        lines = [line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(float(line.split()[-1]) for line in lines if all(w in line for w in wanted))


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus that runs.
    """

    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        """What its API answers."""
        response = httpx.get(f"{self.url}/api/v1/{path}", params=parameters)
        assert response.status_code == 200, response.text
        return response.json()["data"]

    def query(self, expression: str) -> list[Any]:
        """The series that an expression gives now."""
        result: list[Any] = self.ask("query", query=expression)["result"]
        return result

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        alerts = self.ask("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


def free_address() -> str:
    """A free port of the loopback, with its host."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def running_balancer(
    folder: Path, replicas: Sequence[str], changes: Mapping[str, str] | None = None
) -> Iterator[Balancer]:
    """HAProxy in front of two replicas, given as host and port.

    Args:
        replicas: what stands in for those of the shipped file.
        changes: to the shipped file beside those of addresses.
    """
    requests, metrics = free_address(), free_address()
    addresses = dict(zip(REPLICAS, replicas, strict=True))
    addresses |= {REQUESTS: f"bind {requests}", METRICS: f"bind {metrics}"}
    config, log_file = folder / "haproxy.cfg", folder / "haproxy.log"
    shipped = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
    config.write_text(replace_each(shipped, addresses | dict(changes or {})))
    with running(log_file, "haproxy", "-db", "-f", str(config)):
        assert eventually(lambda: is_answered(f"http://{metrics}/healthz"))
        yield Balancer(f"http://{requests}", metrics, log_file)


@contextmanager
def running_prometheus(
    folder: Path,
    replicas: Sequence[str],
    balancer: Balancer,
    gpu_exporters: Sequence[str] = (),
) -> Iterator[Prometheus]:
    """Prometheus that scrapes two replicas and the balancer, in seconds rather than minutes.

    Args:
        replicas: host and port of each.
        balancer: whose metrics are scraped.
        gpu_exporters: host and port of what tells of GPUs, where there are any.
    """
    address = free_address()
    gpus = folder / "gpus.yml"
    gpus.write_text(json.dumps([{"targets": list(gpu_exporters)}]))
    changes = dict(zip(REPLICAS, replicas, strict=True))
    changes |= {"haproxy:8405": balancer.metrics_address, "_interval: 10s": "_interval: 1s"}
    changes |= {"/etc/prometheus-gpu/*.yml": str(gpus)}
    shipped = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    (folder / "prometheus.yml").write_text(replace_each(shipped, changes))
    for name in ("recording.yml", "alerts.yml"):
        rules = (DEPLOY / "prometheus" / name).read_text().splitlines(keepends=True)
        kept = [line for line in rules if not line.strip().startswith("for: ")]
        (folder / name).write_text("".join(kept))
    options = (
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address={address}",
    )
    with running(folder / "prometheus.log", "prometheus", *options):
        assert eventually(lambda: is_answered(f"http://{address}/-/ready"))
        yield Prometheus(f"http://{address}")


@contextmanager
def running(log_file: Path, *command: str) -> Iterator[None]:
    """A program, for as long as the block lasts; what it prints goes to a file."""
    with log_file.open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=60)


def replace_each(text: str, changes: Mapping[str, str]) -> str:
    """A text with some of its parts replaced; each has to be there."""
    for old, new in changes.items():
        assert old in text, f"{old} is not in the file that is shipped"
        text = text.replace(old, new)
    return text


def is_answered(url: str) -> bool:
    """Whether somebody answers there, and well."""
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False
