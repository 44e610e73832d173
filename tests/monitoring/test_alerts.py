"""Alerts: each rule asks for what is exposed, tells its trouble, and is silent without it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from ..support.places import ROOT
from .promtool import promtool
from .queries import ALERTS, Query, rule_queries, rules, unknown_in

TESTS = Path(__file__).with_name("alerts_test.yml")
RECORDED = {rule["record"] for rule in rules() if "record" in rule}
NAMES = [rule["alert"] for rule in rules() if "alert" in rule]


@pytest.mark.parametrize("query", rule_queries(), ids=lambda query: query.asked_by)
def test_a_rule_asks_only_for_metrics_and_labels_that_are_exposed(query: Query) -> None:
    assert unknown_in(query.expression, RECORDED) == set()


@pytest.mark.parametrize(
    ("expression", "unknown"),
    [
        ("sum(redislock_gained_total)", {"redislock_gained_total"}),
        ('redislock_lost_total{cause="expired"}', {"cause"}),
        ("sum by (lock) (redislock_lost_total)", {"lock"}),
        ("rate(redislock_hold_seconds[5m])", {"redislock_hold_seconds"}),
    ],
)
def test_a_query_for_what_nobody_exposes_is_found(expression: str, unknown: set[str]) -> None:
    assert unknown_in(expression, set()) == unknown


def test_prometheus_understands_the_rules() -> None:
    checked = promtool(ALERTS.parent, "check", "rules", "--lint-fatal", ALERTS.name)

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_each_alert_tells_its_trouble_and_is_silent_without_it(tmp_path: Path) -> None:
    for file in (ALERTS, TESTS):
        shutil.copy(file, tmp_path)

    tried = promtool(tmp_path, "test", "rules", TESTS.name)

    assert tried.returncode == 0, tried.stdout + tried.stderr


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_that_never_tells_is_found(name: str, tmp_path: Path) -> None:
    """An alert that is missing is one that never tells."""
    shutil.copy(TESTS, tmp_path)
    (tmp_path / ALERTS.name).write_text(ALERTS.read_text().replace(f"alert: {name}\n", "alert: Another\n"))

    tried = promtool(tmp_path, "test", "rules", TESTS.name)

    assert name in tried.stdout + tried.stderr


def test_each_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"critical", "warning"}
            assert rule["annotations"].keys() == {"summary", "description"}


def test_the_pages_that_an_alert_names_are_there() -> None:
    pages = re.findall(r"\bdocs/[\w/]+\.md", ALERTS.read_text(encoding="utf-8"))

    assert pages
    assert [page for page in pages if not (ROOT / page).is_file()] == []
