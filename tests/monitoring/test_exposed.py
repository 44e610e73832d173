"""Exposed: each query of the dashboard finds something in what an app really exposes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ..support.places import ROOT, python_path
from .promtool import promtool
from .queries import panel_queries

#: What Prometheus adds to each series.
SCRAPED = {"instance": "web-1:9814", "job": "celery"}


@pytest.fixture(scope="module")
def exposed() -> str:
    """Give what an app exposes when each event has happened once."""
    return subprocess.run(
        [sys.executable, "-m", "tests.monitoring.exposing_app"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": python_path()},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout


def series_of(exposed: str) -> Iterator[dict[str, str]]:
    """Return what is exposed as series for promtool: from minute to minute counters go on, gauges stay."""
    for family in text_string_to_metric_families(exposed):
        for sample in family.samples:
            labels = ", ".join(f'{name}="{value}"' for name, value in {**sample.labels, **SCRAPED}.items())
            step = 0 if family.type == "gauge" else sample.value
            yield {"series": f"{sample.name}{{{labels}}}", "values": f"{sample.value}+{step}x120"}


def tried(folder: Path, exposed: str, expressions: Sequence[str]) -> CompletedProcess[str]:
    """Have Prometheus ask each query after 90 minutes; it fails if one of them finds nothing."""
    tries = [
        {
            "expr": f"clamp_max(count({expression}), 1)",
            "eval_time": "90m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for expression in expressions
    ]
    test = {"interval": "1m", "input_series": list(series_of(exposed)), "promql_expr_test": tries}
    (folder / "queries.yml").write_text(yaml.safe_dump({"rule_files": [], "tests": [test]}))
    return promtool(folder, "test", "rules", "queries.yml")


def test_each_query_finds_something_in_what_is_really_exposed(tmp_path: Path, exposed: str) -> None:
    asked = tried(tmp_path, exposed, [query.expression for query in panel_queries()])

    assert asked.returncode == 0, asked.stdout + asked.stderr


@pytest.mark.parametrize("expression", ['redislock_lost_total{reason="lost"}', "redislock_gained_total"])
def test_a_query_that_finds_nothing_is_noticed(tmp_path: Path, exposed: str, expression: str) -> None:
    assert tried(tmp_path, exposed, [expression]).returncode != 0
