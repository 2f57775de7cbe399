"""Runs a deployment under load, with an upgrade and a crash, and sends the dashboard's queries."""

import random
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from typing import Any

import httpx

from app.settings import EMBEDDED_CHECKPOINT
from harness.deployment import Balancer, Prometheus, running_balancer, running_prometheus
from harness.queries import panels
from harness.repeating_clients import RepeatingClients
from harness.replicas import Replica
from harness.waiting import eventually

SCENES = [path.read_bytes() for path in sorted((EMBEDDED_CHECKPOINT / "scenes").iterdir())]
FORMS = (
    {"task": "brief_caption"},
    {"task": "detailed_caption"},
    {"task": "phrase_grounding", "text": "a red circle"},
    {"task": "grounded_vqa", "text": "How many shapes are there?"},
    {"task": "brief_caption", "max_new_tokens": "8"},
    # Out of range, so that the panels of errors have data.
    {"task": "brief_caption", "temperature": "3"},
)
STEP_S = 2
_LABEL = re.compile(r"\{\{(\w+)\}\}")
# Shorter than in Grafana, because this run takes minutes and is scraped every second.
RATES_LOOK_BACK = "20s"


@dataclass(frozen=True)
class Series:
    """One line of a panel.

    Attributes:
        times_s: since the start of the run.
    """

    legend: str
    times_s: list[float]
    values: list[float]


def mixed(client: httpx.Client) -> httpx.Response:
    """Send a request of a random kind, through a random door; some of them fail."""
    scene = random.choice(SCENES)  # noqa: S311 (it is no secret)
    door = random.choice(("kosmos2", "kosmos2", "openai", "moondream"))  # noqa: S311
    if door == "kosmos2":
        form = random.choice(FORMS)  # noqa: S311
        return client.post("/v1/ground", files={"image": scene}, data=form)
    url = f"data:image/jpeg;base64,{b64encode(scene).decode()}"
    if door == "moondream":
        return client.post("/moondream/caption", json={"image_url": url, "length": "short"})
    content = [{"type": "image_url", "image_url": {"url": url}}]
    messages = [{"role": "user", "content": content}]
    return client.post("/v1/chat/completions", json={"messages": messages})


def collect() -> dict[int, list[Series]]:
    """Run the scenario, which takes minutes, and return the series of each panel by its number."""
    with TemporaryDirectory(prefix="kosmos2-run-") as folder, ExitStack() as stack:
        replicas = [
            stack.enter_context(Replica(drain_delay_s=5, slots=4, max_waiting=8)) for _ in range(2)
        ]
        addresses = [replica.address for replica in replicas]
        balancer = stack.enter_context(running_balancer(Path(folder), addresses))
        prometheus = stack.enter_context(running_prometheus(Path(folder), addresses, balancer))
        began = time()
        _run_scenario(replicas, balancer)
        names = {address: f"replica-{number}" for number, address in enumerate(addresses, 1)}
        return _query_all(prometheus, began, names)


def _run_scenario(replicas: list[Replica], balancer: Balancer) -> None:
    """Apply low, high and excessive load, upgrade one replica, and kill the other."""
    _wait_for(lambda: _num_ready(balancer) == len(replicas))
    for number, at_least in ((2, 150), (8, 600), (40, 1500)):
        with _clients(balancer, number) as clients:
            clients.wait_for(at_least)
    with _clients(balancer, 4) as clients:
        clients.wait_for(200)
        replicas[0].stop()
        clients.wait_for(100)
        replicas[0].start()
        clients.wait_for(200)
        replicas[1].kill()
        clients.wait_for(100)
        replicas[1].start()
        clients.wait_for(300)


def _wait_for(condition: Callable[[], bool]) -> None:
    if not eventually(condition):
        raise TimeoutError("the replicas did not become ready")


@contextmanager
def _clients(balancer: Balancer, number: int) -> Iterator[RepeatingClients]:
    clients = RepeatingClients(balancer.url, number, mixed)
    with clients.running():
        yield clients


def _num_ready(balancer: Balancer) -> float:
    return balancer.metric("haproxy_backend_active_servers", proxy="replicas")


def _query_all(
    prometheus: Prometheus, began: float, names: dict[str, str]
) -> dict[int, list[Series]]:
    return {
        panel["id"]: [
            series
            for target in panel["targets"]
            for series in _query(prometheus, target, began, names)
        ]
        for panel in panels()
    }


def _query(
    prometheus: Prometheus, target: dict[str, Any], began: float, names: dict[str, str]
) -> list[Series]:
    """Return the series of one query over the run; replicas get the names in `names`."""
    expression = target["expr"].replace("$__rate_interval", RATES_LOOK_BACK)
    answer = prometheus.get(
        "query_range",
        query=expression.replace("$instance", ".*"),
        start=str(began),
        end=str(time()),
        step=str(STEP_S),
    )
    series = [
        Series(
            _legend(
                target["legendFormat"],
                {label: names.get(value, value) for label, value in each["metric"].items()},
            ),
            [at - began for at, _ in each["values"]],
            [float(value) for _, value in each["values"]],
        )
        for each in answer["result"]
    ]
    return sorted(series, key=lambda each: each.legend)


def _legend(template: str, labels: dict[str, str]) -> str:
    """Fill a legend template as Grafana does; a missing label becomes blank.

    >>> _legend("waiting {{instance}} {{revision}}", {"instance": "a", "job": "kosmos2"})
    'waiting a'
    """
    return _LABEL.sub(lambda match: labels.get(match[1], ""), template).strip()
