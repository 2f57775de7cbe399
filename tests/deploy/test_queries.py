"""Dashboard and rules query existing series, and every alert has a runbook."""

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
from harness.queries import alerts, all_queries, dashboard, dashboard_queries, panels, rules
from harness.requirements import require_programs
from tests.project.test_docs import is_broken

RULES = DEPLOY / "prometheus"
RUNBOOKS = DEPLOY.parent / "docs" / "operations.md"
SUFFIXES = ("", "_total", "_bucket", "_sum", "_count")


def series_names() -> set[str]:
    """Return every series that the service exports or a rule records."""
    registry = CollectorRegistry()
    HttpMetrics(registry)
    EngineMetrics(registry)
    ServiceMetrics(registry)
    names = {metric.name + suffix for metric in registry.collect() for suffix in SUFFIXES}
    return names | {rule["record"] for rule in rules("recording")}


def promtool(*arguments: str, folder: Path = RULES) -> subprocess.CompletedProcess[str]:
    """Run promtool in the folder of the rules."""
    require_programs("promtool")
    return subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True)


def lost_fields(sent: Any, kept: Any, path: str = "") -> list[str]:
    """Return the paths at which `sent` has a value that `kept` lacks."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        return [
            lost
            for name, value in sent.items()
            for lost in (
                lost_fields(value, kept[name], f"{path}/{name}")
                if name in kept
                else [f"{path}/{name}"]
            )
        ]
    if isinstance(sent, list) and isinstance(kept, list) and len(sent) == len(kept):
        pairs = enumerate(zip(sent, kept, strict=True))
        return [lost for n, (s, k) in pairs for lost in lost_fields(s, k, f"{path}/{n}")]
    return [] if sent == kept else [path]


def unknown_to_grafana(content: dict[str, Any]) -> list[str]:
    """Return the fields of a dashboard that Grafana's own model drops."""
    register_default_plugins()
    model = Dashboard.from_json(copy.deepcopy(content))
    return lost_fields(content, json.loads(JSONEncoder().encode(model)))


@pytest.mark.parametrize("name", all_queries())
def test_every_query_names_existing_series(name: str) -> None:
    """After a rename, a panel would be empty or an alert would never fire."""
    named = set(re.findall(r"(?:\w+:)?kosmos2_\w+(?::\w+)?", all_queries()[name]))
    assert named - series_names() == set()


def test_grafana_knows_every_field_of_the_dashboard() -> None:
    """Grafana ignores unknown fields."""
    assert unknown_to_grafana(dashboard()) == []


def test_a_field_unknown_to_grafana_is_found() -> None:
    content = dashboard()
    content["panels"][1]["fieldConfig"]["defaults"]["units"] = "s"
    assert unknown_to_grafana(content) == ["/panels/1/fieldConfig/defaults/units"]


def test_every_panel_has_a_description_and_its_own_id() -> None:
    """Grafana shows only one of two panels with the same id."""
    assert [panel["title"] for panel in panels() if not panel["description"]] == []
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))


def test_the_configuration_of_prometheus_is_valid() -> None:
    done = promtool("check", "config", "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_groups_of_both_files_fit_into_one_prometheus_rule(tmp_path: Path) -> None:
    """As docs/operations.md advises for the operator; two groups of one name are refused."""
    files = [
        yaml.safe_load((RULES / f"{name}.yml").read_text()) for name in ("recording", "alerts")
    ]
    groups = [group for file in files for group in file["groups"]]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": groups}))
    done = promtool("check", "rules", "rules.yml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_on_their_conditions_only() -> None:
    """The cases are in tests.yml."""
    done = promtool("test", "rules", "tests.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_share_of_answered_requests_ignores_invalid_and_cancelled_ones(tmp_path: Path) -> None:
    """Otherwise many requests with a wrong key would hide that all others fail."""
    per_minute = {"completed": 10, "failed": 10, "invalid": 80, "cancelled": 80}
    case = {
        "interval": "1m",
        "input_series": [
            {
                "series": f'kosmos2_requests_total{{job="kosmos2", outcome="{outcome}"}}',
                "values": f"0+{number}x20",
            }
            for outcome, number in per_minute.items()
        ],
        "promql_expr_test": [
            {
                "expr": dashboard_queries()["Answered, last 5 minutes A"],
                "eval_time": "15m",
                "exp_samples": [{"labels": "{}", "value": 0.5}],
            }
        ],
    }
    (tmp_path / "recording.yml").write_text((RULES / "recording.yml").read_text())
    content = {"rule_files": ["recording.yml"], "tests": [case]}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(content))
    done = promtool("test", "rules", "tests.yml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_that_cannot_fire_are_found(tmp_path: Path) -> None:
    """This shows that every alert has a test case."""
    for file in RULES.glob("*.yml"):
        (tmp_path / file.name).write_text(file.read_text())
    content = yaml.safe_load((RULES / "alerts.yml").read_text())
    for group in content["groups"]:
        for rule in group["rules"]:
            # Now no alert can fire, so promtool must report a failed case for each.
            rule["expr"] = "vector(0) > 1"
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(content))
    done = promtool("test", "rules", "tests.yml", folder=tmp_path)
    assert done.returncode == 1
    assert [name for name in alerts() if name not in done.stdout + done.stderr] == []


def test_each_alert_has_its_runbook_and_each_runbook_its_alert() -> None:
    """An alert links to its section in docs/operations.md."""
    links = [rule["annotations"]["runbook_url"] for rule in rules("alerts")]
    assert [link for link in links if is_broken(DEPLOY.parent / "README.md", link)] == []
    assert links == [f"docs/operations.md#{alert.lower()}" for alert in alerts()]
    assert set(re.findall(r"^### (Kosmos2\w+)$", RUNBOOKS.read_text(), re.MULTILINE)) == set(
        alerts()
    )
