"""Lengths: durations that do not fit each other."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from celery import Celery

from .looking import configured, found_by, task_of


@pytest.mark.parametrize("limit", [{"time_limit": 100}, {"soft_time_limit": 100, "time_limit": 200}], ids=str)
def test_a_hold_shorter_than_its_run_is_found_and_its_cure_is_one(app: Celery, limit: dict[str, Any]) -> None:
    task_of(app, lock_max_hold=60, **limit)

    (found,) = found_by("RL106", configured(app))

    assert "may run for 100 s" in found.message
    assert "after 60 s" in found.message
    assert found.cure == "lock_max_hold=110"
    task_of(app, "cured", lock_max_hold=110, **limit)
    assert [each.message.split()[0] for each in found_by("RL106", configured(app))] == ["shop.import_csv"]


def test_a_time_limit_of_all_tasks_counts(app: Celery) -> None:
    task_of(app, lock_max_hold=60)

    assert found_by("RL106", configured(app, task_time_limit=61))


@pytest.mark.parametrize(
    "options", [{}, {"time_limit": 60}, {"time_limit": 600, "soft_time_limit": 60}], ids=str
)
def test_a_hold_as_long_as_its_run_is_left_alone(app: Celery, options: dict[str, Any]) -> None:
    task_of(app, lock_max_hold=60, **options)
    task_of(app, "without a bound", time_limit=3600)

    assert not found_by("RL106", configured(app))


@pytest.mark.parametrize(("ttl", "is_found"), [(0.5, True), (2.9, True), (3, False), (30, False)])
def test_a_lease_that_a_pause_ends_is_found(app: Celery, ttl: float, is_found: bool) -> None:
    task_of(app, lock_ttl=ttl)

    assert bool(found_by("RL105", configured(app))) is is_found


def test_a_task_without_its_lock_has_no_lease(app: Celery) -> None:
    task_of(app, lock_ttl=1, lock_mode="off")

    assert not found_by("RL105", configured(app))


def entry(**options: Any) -> dict[str, Any]:
    return {"nightly": {"task": "shop.import_csv", "schedule": 60, "options": options}}


@pytest.mark.parametrize(
    ("of_task", "of_entry", "is_found"),
    [
        ({"expires": 7200}, {}, True),
        ({"expires": timedelta(hours=2)}, {}, True),
        ({}, {"expires": 7200}, True),
        ({"expires": 60}, {"expires": 60.0}, False),
        ({}, {}, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("scope", ["queue", "task"])
def test_a_message_that_outlives_its_publish_lock_is_found(
    app: Celery, of_task: dict[str, Any], of_entry: dict[str, Any], is_found: bool, scope: str
) -> None:
    task_of(app, lock_scope=scope, **of_task)

    found = found_by("RL107", configured(app, beat_schedule=entry(**of_entry)))

    assert bool(found) is is_found
    assert all(each.cure == "lock_queue_ttl=7200" for each in found)


def test_a_message_without_a_publish_lock_may_wait(app: Celery) -> None:
    task_of(app, expires=7200)

    assert not found_by("RL107", configured(app))
