"""Schedule: what `beat_schedule` names, and how often each entry comes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from celery import Celery
from celery.schedules import BaseSchedule, crontab, schedule

from celery_redislock.config.schedule import Entry, entries_of, shortest_interval_s

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


class Sunset(BaseSchedule):
    """A schedule that is neither an interval nor a crontab."""


@pytest.mark.parametrize(
    ("when", "shortest_s"),
    [
        (30, 30.0),
        (0.5, 0.5),
        (timedelta(minutes=5), 300.0),
        (schedule(90), 90.0),
        (crontab(), MINUTE),
        (crontab(minute="*/15"), 15 * MINUTE),
        (crontab(minute="*/7"), 4 * MINUTE),  # from the 56th minute to the next hour
        (crontab(minute="0,50"), 10 * MINUTE),
        (crontab(minute=0, hour="23,0"), HOUR),  # across midnight
        (crontab(minute=0, hour="*/6"), 6 * HOUR),
        (crontab(minute=0, hour=3), DAY),
        (crontab(minute=0, hour=3, day_of_week="mon,thu"), 3 * DAY),
        (crontab(minute=0, hour="0,23", day_of_week=1), 23 * HOUR),
        (crontab(minute=0, hour=0, day_of_month=1), 28 * DAY),
        (crontab(minute=0, hour=0, day_of_month=29, month_of_year=2), 1461 * DAY),
        (Sunset(), 0.0),
        (None, 0.0),
        ("every day", 0.0),
    ],
)
def test_the_shortest_interval_of_a_schedule_is_known(when: Any, shortest_s: float) -> None:
    assert shortest_interval_s(when) == shortest_s


def test_the_entries_of_the_settings_are_read() -> None:
    app = Celery("app", set_as_current=False)
    app.conf.beat_schedule = {
        "import": {"task": "shop.import_csv", "schedule": 60},
        "report": {"task": "shop.report", "schedule": crontab(minute=0)},
        "not an entry": 7,
    }

    assert entries_of(app) == (Entry("import", "shop.import_csv", 60.0), Entry("report", "shop.report", HOUR))


def test_without_a_schedule_there_are_no_entries() -> None:
    assert entries_of(Celery("app", set_as_current=False)) == ()
