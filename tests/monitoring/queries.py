"""Queries: what the dashboard and the alert rules ask for, and which metrics and labels a query has."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import yaml

from celery_redislock.observing.metrics import HISTOGRAM, METRICS

from ..support.places import ROOT

ALERTS = ROOT / "monitoring" / "alerts.yml"
DASHBOARD = ROOT / "monitoring" / "grafana.json"

#: Labels that Prometheus gives to each series, or to a histogram.
GIVEN = {"instance", "job", "le"}

#: As it is exposed -> its labels.
EXPOSED: dict[str, set[str]] = {
    name: {*metric.labels, *GIVEN}
    for metric in METRICS
    for name in (
        [f"{metric.name}_{part}" for part in ("bucket", "count", "sum")]
        if metric.kind == HISTOGRAM
        else [metric.name]
    )
}

#: What Grafana puts into a query.
VARIABLES = {"$__rate_interval": "5m", "$task": ".*"}


class Query(NamedTuple):
    """A query, and who asks it."""

    asked_by: str
    expression: str


def dashboard() -> dict[str, Any]:
    """Read the dashboard."""
    board: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return board


def panels() -> list[dict[str, Any]]:
    """Return the panels that show something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def panel_queries() -> list[Query]:
    """Return the queries of the dashboard, as Grafana sends them."""
    targets = [(panel["title"], target) for panel in panels() for target in panel["targets"]]
    return [Query(f"{title} {target['refId']}", _sent(target["expr"])) for title, target in targets]


def _sent(expression: str) -> str:
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression


def rules() -> list[dict[str, Any]]:
    """Return the alert rules, and what is recorded for them."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def rule_queries() -> list[Query]:
    """Return the queries of the alert rules."""
    return [Query(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]


def unknown_in(expression: str, recorded: set[str]) -> set[str]:
    """Return the metrics of a query that nobody exposes or records, and the labels that none of them has."""
    metrics = set(re.findall(r"\b[\w:]*redislock[\w:]*", re.sub(r'"[^"]*"', "", expression)))
    exposed = metrics & EXPOSED.keys()
    known = set().union(*(EXPOSED[name] for name in exposed)) if exposed else {"task"}
    selectors = re.findall(r"\{([^}]*)\}", expression)
    labels = {label for each in selectors for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", each)}
    groups = re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", expression)
    labels |= {label for each in groups for label in re.findall(r"\w+", each)}
    return (metrics - EXPOSED.keys() - recorded) | (labels - known)
