"""Real processes of the load balancer and Prometheus, with the shipped configuration."""

import json
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from harness import loopback
from harness.waiting import eventually

DEPLOY = Path(__file__).parents[1] / "deploy"
# The addresses of the replicas and of the balancer in the shipped files.
REPLICAS = ("kosmos2-1:8000", "kosmos2-2:8000")
REQUESTS, METRICS = "bind :8080", "bind :8405"


@dataclass(frozen=True)
class Balancer:
    """A running load balancer.

    Attributes:
        url: for requests of clients.
        metrics_address: host and port for Prometheus.
    """

    url: str
    metrics_address: str
    log_file: Path

    @property
    def num_ready(self) -> float:
        """The number of replicas that the balancer considers ready."""
        return self.metric("haproxy_backend_active_servers", proxy="replicas")

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the series of a name that have these labels."""
        text = loopback.get(f"http://{self.metrics_address}/metrics").text
        # A name may be the beginning of another name, so the character after it counts.
        lines = [line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(float(line.split()[-1]) for line in lines if all(w in line for w in wanted))


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of a request to its API."""
        response = loopback.get(f"{self.url}/api/v1/{path}", params=parameters)
        assert response.status_code == 200, response.text
        return response.json()["data"]

    def query(self, expression: str) -> list[Any]:
        """Return the series of an expression now."""
        result: list[Any] = self.get("query", query=expression)["result"]
        return result

    def firing_alerts(self) -> set[str]:
        """Return the names of the firing alerts."""
        alerts = self.get("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


def free_address() -> str:
    """Return the host and a free port of the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def running_balancer(
    folder: Path, replicas: Sequence[str], changes: Mapping[str, str] | None = None
) -> Iterator[Balancer]:
    """Run HAProxy in front of two replicas for the duration of the block.

    Args:
        replicas: host and port of each; they replace those in the shipped file.
        changes: further replacements in the shipped file.
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
    """Run Prometheus for two replicas and the balancer, with intervals of seconds, not minutes.

    Args:
        replicas: host and port of each.
        balancer: its metrics are scraped, too.
        gpu_exporters: host and port of each exporter of GPU metrics.
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
        # Alerts fire without their waiting time, so that tests need not wait.
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
    """Run a program for the duration of the block; its output is written to `log_file`."""
    with log_file.open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=60)


def replace_each(text: str, changes: Mapping[str, str]) -> str:
    """Return a text with some parts replaced; fails if a part does not occur."""
    for old, new in changes.items():
        assert old in text, f"the shipped file does not contain {old}"
        text = text.replace(old, new)
    return text


def is_answered(url: str) -> bool:
    """Return whether a GET request is answered with 200."""
    try:
        return loopback.get(url).status_code == 200
    except httpx.TransportError:
        return False
