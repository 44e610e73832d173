"""Lengths: durations that do not fit each other."""

from __future__ import annotations

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
