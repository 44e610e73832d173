"""Intervals: the next round interval that is long enough for a run, and the line that sets it."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab
from hypothesis import given
from hypothesis import strategies as st

from celery_redislock.config.schedule import shortest_interval_s
from celery_redislock.doctor.intervals import ROOM, line_to_paste, next_round_s

MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("run_s", "interval_s"),
    [
        (0.1, 1),
        (2.6, 5),
        (50, 2 * MINUTE),  # 1.2 times that is a minute
        (340, 10 * MINUTE),
        (HOUR, 2 * HOUR),
        (11 * HOUR, DAY),
        (30 * HOUR, 2 * DAY),
    ],
)
def test_the_next_round_interval_leaves_room_for_the_run(run_s: float, interval_s: int) -> None:
    assert next_round_s(run_s) == interval_s


@given(st.floats(0, 30 * DAY))
def test_no_interval_is_shorter_than_the_run_and_its_room(run_s: float) -> None:
    assert next_round_s(run_s) >= ROOM * run_s


@pytest.mark.parametrize("interval_s", [MINUTE, 5 * MINUTE, 30 * MINUTE, HOUR, 12 * HOUR, DAY, 2 * DAY])
@pytest.mark.parametrize("when", [30.0, crontab()], ids=["interval", "crontab"])
def test_the_line_sets_the_interval(when: Any, interval_s: int) -> None:
    app = Celery("app", set_as_current=False)
    app.conf.beat_schedule = {"import": {"task": "t", "schedule": when}}

    exec(line_to_paste("import", interval_s, when), {"app": app, "crontab": crontab})

    assert shortest_interval_s(app.conf.beat_schedule["import"]["schedule"]) == interval_s


def test_an_entry_that_is_kept_elsewhere_is_named_in_words() -> None:
    assert (
        line_to_paste("import", 600, None) == "let 'import' come every 10 minutes, where its schedule is kept"
    )
