"""OpenTelemetry metrics: what the API was told, read through the SDK's reader in memory."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from weakref import ref

import pytest
from celery import Celery
from opentelemetry import metrics as api

from celery_redislock import ConfigurationError, events
from celery_redislock.observing.metrics import METRICS
from celery_redislock.observing.opentelemetry import Instruments, destination_of

from ...support.applications import application, busy, locked
from ...support.telemetry import Recorded

TASK: Any = SimpleNamespace(name="t", app=None)

#: One event of each kind that feeds a metric.
ONE_OF_EACH = (
    events.Acquired(TASK, "id", None, "waited", 0.3),
    events.Released(TASK, "id", None, 7.0, True),
    events.Conflicted(TASK, "id", "redislock:t", "skip", None, "because"),
    events.Lost(TASK, "id", None, "forced", "by a person"),
    events.Orphaned(TASK, "id", "redislock:t", "parent"),
    events.Renewed("renewed", 0.02),
    events.StoreFailed("acquire", "TimeoutError"),
    events.Ticked(None, "hourly", "t", "2026-01-01T00:00:00+00:00", "sent", 60.0),
    events.Led(None, "beat", True),
)


class Lock:
    """May be gone."""


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    with pytest.MonkeyPatch.context() as patch:
        recorded = Recorded(patch)
        yield recorded
        recorded.close()


def test_each_metric_that_an_event_feeds_has_its_name_and_its_labels(recorded: Recorded) -> None:
    instruments = Instruments(api, (1.0, 10.0))

    for event in ONE_OF_EACH:
        instruments.hear(event)

    for metric in METRICS:
        points = recorded.points(metric.otel_name)
        assert len(points) == bool(metric.feeds), metric.name
        for attributes in points:
            labels = ["error.type" if label == "error_type" else label for label in metric.labels]
            assert [name for name, _ in attributes] == sorted(labels)


def test_a_run_and_a_conflict_of_an_app_are_counted(app: Celery, recorded: Recorded) -> None:
    app.conf.redislock_metrics = ["opentelemetry"]
    task = locked(app, lambda: None, name="t")

    task.apply()
    with busy(task):
        task.apply()

    assert recorded.values("redislock.acquired") == {(("how", "at_once"), ("task", "t")): 1}
    skipped = (("action", "skip"), ("shadow", "false"), ("task", "t"))
    assert recorded.values("redislock.conflicts") == {skipped: 1}
    assert recorded.values("redislock.running") == {(("task", "t"),): 0}


def test_what_runs_now_is_running(app: Celery, recorded: Recorded) -> None:
    app.conf.redislock_metrics = ["opentelemetry"]
    seen: list[Any] = []
    task = locked(app, lambda: seen.append(recorded.values("redislock.running")), name="t")

    task.apply()

    assert seen == [{(("task", "t"),): 1}]


def test_histograms_have_the_buckets_of_the_table_and_those_of_holds_the_ones_of_the_setting(
    recorded: Recorded,
) -> None:
    instruments = Instruments(api, (1.0, 10.0))

    for event in ONE_OF_EACH:
        instruments.hear(event)

    for metric in METRICS:
        expected = (1.0, 10.0) if metric.otel_name == "redislock.hold_time" else metric.buckets
        for point in recorded.points(metric.otel_name).values() if metric.buckets else ():
            assert point.explicit_bounds == expected


def test_nothing_is_recorded_in_the_thread_of_the_run(recorded: Recorded) -> None:
    instruments = Instruments(api, (1.0,))
    made: list[str] = []
    recorders = instruments._recorders

    instruments.hear(ONE_OF_EACH[0])
    made.extend(metric.otel_name for metric in recorders)

    assert made == []
    assert recorded.values("redislock.acquired") != {}


def test_what_is_still_to_be_recorded_keeps_no_lock(recorded: Recorded) -> None:
    instruments = Instruments(api, (1.0,))
    lock = Lock()
    there = ref(lock)

    instruments.hear(events.Acquired(TASK, "id", lock, "at_once", 0.0))
    del lock
    gc.collect()

    assert there() is None
    assert recorded.values("redislock.acquired") != {}


def test_there_is_no_destination_unless_the_setting_asks_for_one() -> None:
    assert destination_of(application("redis://localhost:1")) is None
    assert destination_of(application("redis://localhost:1", redislock_metrics=["prometheus"])) is None


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", None)

    with pytest.raises(ConfigurationError, match=r"pip install celery-redislock\[opentelemetry\]"):
        destination_of(application("redis://localhost:1", redislock_metrics=["opentelemetry"]))
