"""The dashboard and the rules ask for what there is, and the documents say what to do about it."""

import copy
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import CollectorRegistry

from app.telemetry.metrics import EngineMetrics, HttpMetrics, ServiceMetrics
from harness.deployment import DEPLOY
from harness.queries import alerts, all_queries, dashboard, panels, rules
from harness.requirements import require_programs
from tests.project.test_docs import is_broken

RULES = DEPLOY / "prometheus"
RUNBOOKS = DEPLOY.parent / "docs" / "operations.md"
SUFFIXES = ("", "_total", "_bucket", "_sum", "_count")


def series_names() -> set[str]:
    """Every series that the service can show, and every one that a rule records."""
    registry = CollectorRegistry()
    HttpMetrics(registry)
    EngineMetrics(registry)
    ServiceMetrics(registry)
    names = {metric.name + suffix for metric in registry.collect() for suffix in SUFFIXES}
    return names | {rule["record"] for rule in rules("recording")}


def promtool(*arguments: str, folder: Path = RULES) -> subprocess.CompletedProcess[str]:
    """Run promtool among the rules."""
    require_programs("promtool")
    return subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True)


def lost_fields(sent: Any, kept: Any, place: str = "") -> list[str]:
    """Where one JSON value has something that another, made of it, has not."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        return [
            lost
            for name, value in sent.items()
            for lost in (
                lost_fields(value, kept[name], f"{place}/{name}")
                if name in kept
                else [f"{place}/{name}"]
            )
        ]
    if isinstance(sent, list) and isinstance(kept, list) and len(sent) == len(kept):
        pairs = enumerate(zip(sent, kept, strict=True))
        return [lost for n, (s, k) in pairs for lost in lost_fields(s, k, f"{place}/{n}")]
    return [] if sent == kept else [place]


def unknown_to_grafana(content: dict[str, Any]) -> list[str]:
    """The fields of a dashboard that do not survive Grafana's own model of it."""
    register_default_plugins()
    model = Dashboard.from_json(copy.deepcopy(content))
    return lost_fields(content, json.loads(JSONEncoder().encode(model)))


@pytest.mark.parametrize("name", all_queries())
def test_queries_name_series_that_there_are(name: str) -> None:
    """A series that was renamed would leave an empty panel, or an alert that never fires."""
    named = set(re.findall(r"(?:\w+:)?kosmos2_\w+(?::\w+)?", all_queries()[name]))
    assert named - series_names() == set()


def test_the_dashboard_is_one_that_grafana_reads() -> None:
    """A field that Grafana does not know, it ignores."""
    assert unknown_to_grafana(dashboard()) == []


def test_a_field_that_grafana_does_not_know_is_found() -> None:
    content = dashboard()
    content["panels"][1]["fieldConfig"]["defaults"]["units"] = "s"
    assert unknown_to_grafana(content) == ["/panels/1/fieldConfig/defaults/units"]


def test_panels_say_what_they_show() -> None:
    """At 3 a.m. nobody reads the code; and two panels of one number would be one panel."""
    assert [panel["title"] for panel in panels() if not panel["description"]] == []
    numbers = [panel["id"] for panel in dashboard()["panels"]]
    assert len(numbers) == len(set(numbers))


def test_prometheus_takes_the_configuration() -> None:
    done = promtool("check", "config", "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should_and_no_sooner() -> None:
    """The cases are in tests.yml."""
    done = promtool("test", "rules", "tests.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_that_cannot_fire_are_found(tmp_path: Path) -> None:
    """So every alert has a case."""
    for file in RULES.glob("*.yml"):
        (tmp_path / file.name).write_text(file.read_text())
    content = yaml.safe_load((RULES / "alerts.yml").read_text())
    for group in content["groups"]:
        for rule in group["rules"]:
            rule["expr"] = "vector(0) > 1"
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(content))
    done = promtool("test", "rules", "tests.yml", folder=tmp_path)
    assert done.returncode == 1
    assert [name for name in alerts() if name not in done.stdout + done.stderr] == []


def test_each_alert_has_its_runbook_and_each_runbook_its_alert() -> None:
    """Whoever is woken up by one is sent to its heading."""
    links = [rule["annotations"]["runbook_url"] for rule in rules("alerts")]
    assert [link for link in links if is_broken(DEPLOY.parent / "README.md", link)] == []
    assert links == [f"docs/operations.md#{alert.lower()}" for alert in alerts()]
    assert set(re.findall(r"^### (Kosmos2\w+)$", RUNBOOKS.read_text(), re.MULTILINE)) == set(
        alerts()
    )
