"""Metrics: what each event does to which metric; pure."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from celery_redislock import events
from celery_redislock.observing import metrics
from celery_redislock.observing.metrics import METRICS, Metric, feeds_of

TASK: Any = SimpleNamespace(name="shop.import_csv", app=None)


def conflicted(action: str, **said: Any) -> events.Conflicted:
    return events.Conflicted(TASK, "id", "redislock:a", action, None, "because", **said)


def ticked(result: str, interval_s: float = 60.0) -> events.Ticked:
    return events.Ticked(None, "hourly", "shop.import_csv", "2026-01-01T00:00:00+00:00", result, interval_s)


def fed_by(event: Any) -> dict[str, tuple[tuple[str, ...], float]]:
    """Return what an event does: by metric the labels and the amount."""
    samples = ((metric.name, feed(event)) for metric, feed in feeds_of(type(event)))
    return {name: sample for name, sample in samples if sample is not None}


def test_a_run_that_gets_its_lock_is_counted_timed_and_running() -> None:
    assert fed_by(events.Acquired(TASK, "id", None, "waited", 0.5)) == {
        "redislock_acquired_total": (("shop.import_csv", "waited"), 1),
        "redislock_wait_seconds": (("shop.import_csv",), 0.5),
        "redislock_running": (("shop.import_csv",), 1),
    }


@pytest.mark.parametrize("is_free", [True, False])
def test_a_run_that_ends_is_timed_and_not_running_any_more(is_free: bool) -> None:
    assert fed_by(events.Released(TASK, "id", None, 7.0, is_free)) == {
        "redislock_hold_seconds": (("shop.import_csv",), 7.0),
        "redislock_running": (("shop.import_csv",), -1),
    }


@pytest.mark.parametrize(
    ("event", "action", "shadow"),
    [
        (conflicted("skip"), "skip", "false"),
        (conflicted("skip", is_shadow=True), "skip", "true"),
        (conflicted("skip", is_published=False), "not_published", "false"),
        (conflicted("fail", is_published=False), "not_published", "false"),
        (conflicted("coalesce"), "coalesce", "false"),
        (conflicted("superseded"), "superseded", "false"),
        (conflicted("put_off"), "put_off", "false"),
        (conflicted("callable"), "callable", "false"),
    ],
)
def test_a_conflict_is_counted_by_what_was_done(event: events.Conflicted, action: str, shadow: str) -> None:
    assert fed_by(event) == {"redislock_conflicts_total": (("shop.import_csv", action, shadow), 1)}


def test_losses_orphans_renewals_and_errors_are_counted() -> None:
    assert fed_by(events.Lost(TASK, "id", None, "forced", "by hand")) == {
        "redislock_lost_total": (("shop.import_csv", "forced"), 1)
    }
    assert fed_by(events.Orphaned(TASK, "id", "redislock:a", "parent")) == {
        "redislock_orphans_total": (("shop.import_csv", "parent"), 1)
    }
    assert fed_by(events.Renewed("failed", 2.0)) == {
        "redislock_renewals_total": (("failed",), 1),
        "redislock_renewal_late_seconds": ((), 2.0),
    }
    assert fed_by(events.StoreFailed("acquire", "TimeoutError")) == {
        "redislock_store_errors_total": (("acquire", "TimeoutError"), 1)
    }


def test_only_a_tick_that_was_sent_is_the_last_one() -> None:
    assert set(fed_by(ticked("sent"))) == {
        "redislock_beat_ticks_total",
        "redislock_beat_last_tick_timestamp_seconds",
        "redislock_schedule_interval_seconds",
    }
    assert fed_by(ticked("taken", interval_s=0.0)) == {"redislock_beat_ticks_total": (("hourly", "taken"), 1)}


def test_a_beat_leads_or_stands_by() -> None:
    assert fed_by(events.Led(None, "beat", leads=True)) == {"redislock_beat_leader": (("beat",), 1)}
    assert fed_by(events.Led(None, "beat", leads=False)) == {"redislock_beat_leader": (("beat",), 0)}


@pytest.mark.parametrize("metric", METRICS, ids=lambda each: each.name)
def test_a_row_of_the_table_is_whole(metric: Metric) -> None:
    assert metric.name.endswith("_total") == (metric.kind == metrics.COUNTER)
    assert bool(metric.buckets) == (metric.kind == metrics.HISTOGRAM)
    assert [*metric.buckets] == sorted(set(metric.buckets))
    assert set(metric.words) <= set(metric.labels)
    assert "lock" not in metric.labels


def test_no_two_metrics_have_one_name() -> None:
    assert (
        len({metric.name for metric in METRICS})
        == len({metric.otel_name for metric in METRICS})
        == len(METRICS)
    )
