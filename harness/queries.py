"""Every query that is shipped: of the dashboard, of the rules, of the autoscaler's metrics."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[1] / "deploy"
_THRESHOLD = re.compile(r"\s[<>]\s[\d.]+$")


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    content: dict[str, Any] = json.loads(
        (DEPLOY / "grafana" / "dashboards" / "kosmos2.json").read_text()
    )
    return content


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels, without the lines between them."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def rules(name: str) -> list[dict[str, Any]]:
    """The rules of one file of Prometheus."""
    groups = yaml.safe_load((DEPLOY / "prometheus" / f"{name}.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[str]:
    """The names of all alerts."""
    return [rule["alert"] for rule in rules("alerts")]


def dashboard_queries(interval: str = "1m", instance: str = ".*") -> dict[str, str]:
    """Each query of the dashboard, by panel and letter, with Grafana's variables filled in.

    Args:
        interval: what rates look back over.
        instance: which replicas, a regular expression.
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
    """What each rule records, and what each alert compares with its threshold."""
    recorded = {rule["record"]: rule["expr"] for rule in rules("recording")}
    compared = {rule["alert"]: rule["expr"] for rule in rules("alerts")}
    assert all(_THRESHOLD.search(expression) for expression in compared.values())
    return recorded | {name: _THRESHOLD.sub("", query) for name, query in compared.items()}


def autoscaler_queries() -> dict[str, str]:
    """The metrics that the HorizontalPodAutoscaler asks for, told apart by replica."""
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
    """All of them."""
    return dashboard_queries() | rule_queries() | autoscaler_queries()
