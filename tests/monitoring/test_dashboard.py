"""Dashboard: Grafana can load it, and it asks for what is exposed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from .queries import EXPOSED, Query, dashboard, panel_queries, panels, unknown_in

#: Units of Grafana.
UNITS = {"short", "s", "cps", "percentunit"}


@pytest.mark.parametrize("query", panel_queries(), ids=lambda query: query.asked_by)
def test_a_panel_asks_only_for_metrics_and_labels_that_are_exposed(query: Query) -> None:
    assert unknown_in(query.expression, set()) == set()


def test_each_metric_is_on_the_dashboard() -> None:
    asked = " ".join(query.expression for query in panel_queries())
    families = {name.removesuffix("_bucket") for name in EXPOSED if not name.endswith(("_count", "_sum"))}

    assert [name for name in sorted(families) if name not in asked] == []


def test_grafana_finds_what_it_looks_for() -> None:
    board = dashboard()
    variables = {each["name"]: each for each in board["templating"]["list"]}

    assert board["schemaVersion"] >= 36
    assert board["id"] is None, "Grafana gives it one"
    assert board["title"]
    assert board["uid"]
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert variables["task"]["query"]["query"] == "label_values(redislock_acquired_total, task)"


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["type"] in {"stat", "timeseries"}
    assert panel["title"]
    assert len(panel["description"].split()) >= 5
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
    assert Counter(target["refId"] for target in panel["targets"]).most_common(1)[0][1] == 1


def test_panels_do_not_cover_each_other() -> None:
    taken = Counter(
        (x, y)
        for place in (panel["gridPos"] for panel in dashboard()["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    )

    assert max(taken.values()) == 1
    assert max(x for x, _ in taken) < 24
    assert max(Counter(panel["id"] for panel in dashboard()["panels"]).values()) == 1
