"""Usual: what the statistics say of a task's locks, and nothing where they say nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from celery import Celery

from celery_redislock.observing import statistics
from celery_redislock.observing.statistics import LastConflict, Statistics, TaskNumbers
from celery_redislock.operations.usual import Hold, Usual

from ...support.applications import locked

MET = LastConflict(
    datetime(2026, 11, 22, tzinfo=timezone.utc), "redislock:a", "late", "first", "here", "skip"
)


class Measured(TaskNumbers):
    """Holds of 1, 2 and 3 seconds."""

    def percentile(self, kind: str, share: float) -> float | None:
        return {0.5: 1.0, 0.95: 2.0, 0.99: 3.0}[share] if kind == "hold" else None


def test_the_hold_of_a_task_is_what_was_measured() -> None:
    usual = Usual(Celery("app", set_as_current=False), {"load": Measured(), "new": TaskNumbers()})

    assert usual.hold_of("load") == Hold(1.0, 2.0, 3.0)
    assert usual.hold_of("new") is None
    assert usual.hold_of("unknown") is None


@pytest.mark.parametrize(("held_s", "is_exceeded"), [(299.0, False), (301.0, True)])
def test_less_than_five_minutes_are_never_too_long(held_s: float, is_exceeded: bool) -> None:
    assert Hold(1.0, 2.0, 3.0).is_exceeded_by(held_s) is is_exceeded


@pytest.mark.parametrize(("held_s", "is_exceeded"), [(1_199.0, False), (1_201.0, True)])
def test_three_times_what_99_percent_take_is_too_long(held_s: float, is_exceeded: bool) -> None:
    assert Hold(240.0, 360.0, 400.0).is_exceeded_by(held_s) is is_exceeded


def test_the_lease_is_that_of_the_tasks_options(app: Celery) -> None:
    locked(app, lambda: None, name="load", lock_ttl=12)
    app.task(print, name="plain", shared=False)
    usual = Usual(app)

    assert usual.lease_s_of("load") == 12.0
    assert usual.lease_s_of("plain") is None
    assert usual.lease_s_of("of another app") is None


def test_a_task_whose_options_are_wrong_has_no_lease(app: Celery) -> None:
    locked(app, lambda: None, name="load")
    app.conf.redislock_ttl = "soon"

    assert Usual(app).lease_s_of("load") is None


def test_the_conflicts_of_a_lock_are_those_of_all_its_tasks_the_newest_first() -> None:
    later = MET._replace(when=MET.when + timedelta(seconds=60))
    of_others = MET._replace(lock_name="redislock:b")
    tasks = {
        "load": replace(TaskNumbers(), last_conflicts=(MET, of_others)),
        "report": replace(TaskNumbers(), last_conflicts=(later,)),
    }

    assert Usual(Celery("app", set_as_current=False), tasks).conflicts_at("redislock:a") == (later, MET)


@pytest.mark.parametrize("error", [RuntimeError("it has no numbers"), ValueError()])
def test_what_keeps_the_statistics_from_being_read_is_told_and_not_raised(
    app: Celery, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> Statistics:
        raise error

    monkeypatch.setattr(statistics, "read", fail)
    usual = Usual.read(app)

    assert usual.unread in {"it has no numbers", "ValueError"}
    assert usual.hold_of("load") is None
    assert usual.conflicts_at("redislock:a") == ()
