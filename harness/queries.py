"""All shipped queries: of the dashboard, the rules and the autoscaler's metrics."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[1] / "deploy"
_THRESHOLD = re.compile(r"\s[<>]\s[\d.]+$")


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana reads it."""
    content: dict[str, Any] = json.loads(
        (DEPLOY / "grafana" / "dashboards" / "kosmos2.json").read_text()
    )
    return content


def panels() -> list[dict[str, Any]]:
    """Return the dashboard's panels, without the rows that group them."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def rules(name: str) -> list[dict[str, Any]]:
    """Return the rules in one of Prometheus' files."""
    groups = yaml.safe_load((DEPLOY / "prometheus" / f"{name}.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[str]:
    """Return the names of all alerts."""
    return [rule["alert"] for rule in rules("alerts")]


def dashboard_queries(interval: str = "1m", instance: str = ".*") -> dict[str, str]:
    """Return the queries of the dashboard by panel and letter, with Grafana's variables filled in.

    Args:
        interval: of rates.
        instance: a regular expression for the replicas.
    """
    filled = {"$__rate_interval": interval, "$instance": instance}
    queries = {}
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"]
            for variable, value in filled.items():
                expression = expression.replace(variable, value)
            queries[f"{panel['title']} {target['refId']}"] = expression
    return queries


def rule_queries() -> dict[str, str]:
    """Return the expressions of all recording rules, and those of all alerts without threshold."""
    recorded = {rule["record"]: rule["expr"] for rule in rules("recording")}
    compared = {rule["alert"]: rule["expr"] for rule in rules("alerts")}
    assert all(_THRESHOLD.search(expression) for expression in compared.values())
    # A comparison returns no series while all is well, so a test could not see the query work.
    return recorded | {name: _THRESHOLD.sub("", query) for name, query in compared.items()}


def autoscaler_queries() -> dict[str, str]:
    """Return the metrics that the HorizontalPodAutoscaler queries, by replica."""
    adapter = yaml.safe_load((DEPLOY / "kubernetes" / "prometheus-adapter.yaml").read_text())
    filled = {"<<.LabelMatchers>>": 'job="kosmos2"', "<<.GroupBy>>": "instance"}
    queries = {}
    for rule in adapter["rules"]["custom"]:
        series = rule["seriesQuery"].partition("{")[0]
        expression = rule["metricsQuery"].replace("<<.Series>>", series)
        for variable, value in filled.items():
            expression = expression.replace(variable, value)
        queries[rule.get("name", {}).get("as", series)] = expression
    return queries


@cache
def all_queries() -> dict[str, str]:
    """Return the queries of dashboard, rules and autoscaler."""
    return dashboard_queries() | rule_queries() | autoscaler_queries()
