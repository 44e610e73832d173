"""Metrics: the page of the reference has each metric as the table in the code has it."""

from __future__ import annotations

import re

import pytest

from celery_redislock.observing.metrics import METRICS, Metric

from ..support.places import DOCS

PAGE = (DOCS / "reference" / "metrics.md").read_text(encoding="utf-8")

#: How the page calls a kind.
KINDS = {
    "counter": "counter",
    "histogram": "histogram",
    "gauge": "gauge",
    "up_down": "gauge, goes up and down",
}


def row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "\N{EN DASH}"
    return f"| `{metric.name}` | `{metric.otel_name}` | {KINDS[metric.kind]} | {labels} | {metric.help} |"


def test_the_page_has_each_metric_once_and_no_other() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `redislock_")]

    assert rows == [row(metric) for metric in METRICS]


@pytest.mark.parametrize("metric", [each for each in METRICS if each.words], ids=lambda each: each.name)
def test_the_page_has_each_word_of_a_label(metric: Metric) -> None:
    for label, words in metric.words.items():
        (listed,) = re.findall(rf"^\| `{label}` of `{metric.name}` \| (.*?) \|", PAGE, re.M)

        assert re.findall(r"`(\w+)`", listed) == [*words]


@pytest.mark.parametrize("metric", [each for each in METRICS if each.buckets], ids=lambda each: each.name)
def test_the_page_has_the_buckets_of_a_histogram(metric: Metric) -> None:
    (listed,) = re.findall(rf"^\| buckets of `{metric.name}` \| (.*?) \|", PAGE, re.M)

    assert [float(bound) for bound in listed.split(", ")] == [*metric.buckets]
