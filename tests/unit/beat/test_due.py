"""Due: which due time of a schedule is to be sent."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest
from celery import Celery
from celery.schedules import crontab, schedule

from celery_redislock.beat.due import due_time

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)
SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=seconds) for seconds in (1, 60, 3600, 86400))


@pytest.fixture(params=["UTC", "Europe/Berlin", "Asia/Kolkata"])
def zone(request: pytest.FixtureRequest) -> Celery:
    return Celery(timezone=request.param, set_as_current=False)


@pytest.fixture
def utc() -> Celery:
    return Celery(timezone="UTC", set_as_current=False)


def test_an_interval_is_due_so_long_after_it_was_sent_last(zone: Celery) -> None:
    assert due_time(schedule(60, app=zone), NOON - 61 * SECOND, NOON) == NOON - SECOND


def test_an_interval_that_has_not_passed_is_due_in_the_future(zone: Celery) -> None:
    assert due_time(schedule(60, app=zone), NOON - 59 * SECOND, NOON) == NOON + SECOND


def test_of_several_intervals_that_passed_the_latest_is_due(zone: Celery) -> None:
    assert due_time(schedule(60, app=zone), NOON - 605 * SECOND, NOON) == NOON - 5 * SECOND


@pytest.mark.parametrize("interval", [schedule(60), schedule(0)], ids=["never sent", "without an interval"])
def test_where_nothing_can_be_reckoned_it_is_due_now(interval: schedule) -> None:
    last = None if interval.seconds else NOON - HOUR

    assert due_time(interval, last, NOON) == NOON


def test_a_relative_interval_is_due_on_the_round_time(utc: Celery) -> None:
    when = schedule(HOUR, relative=True, app=utc)

    assert due_time(when, NOON - 90 * MINUTE, NOON + 10 * MINUTE) == NOON - HOUR + HOUR * 0


def test_a_crontab_is_due_at_its_minute(utc: Celery) -> None:
    when = crontab(minute="*/15", app=utc)

    assert due_time(when, NOON - 15 * MINUTE + SECOND, NOON + 5 * SECOND) == NOON


def test_a_crontab_that_was_sent_is_due_at_its_next_minute(utc: Celery) -> None:
    # Celery 5.4 looks for a later minute of the same hour only if that hour is of its own "now".
    when = crontab(minute="*/15", app=utc, nowfun=lambda: NOON)

    assert due_time(when, NOON + SECOND, NOON + 5 * SECOND) == NOON + 15 * MINUTE


def test_a_crontab_is_looked_up_in_its_own_time_zone() -> None:
    when = crontab(hour=9, minute=0, app=Celery(timezone="Asia/Kolkata", set_as_current=False))

    assert due_time(when, NOON - DAY, NOON) == datetime(2026, 11, 22, 3, 30, tzinfo=timezone.utc)


def test_of_the_minutes_missed_in_a_year_the_latest_is_due(utc: Celery) -> None:
    assert due_time(crontab(app=utc), NOON - 365 * DAY, NOON + 30 * SECOND) == NOON


def test_a_crontab_that_was_never_sent_is_due_at_its_last_minute(utc: Celery) -> None:
    when = crontab(hour=0, minute=0, day_of_month=29, month_of_year=2, app=utc)

    assert due_time(when, None, NOON) == datetime(2024, 2, 29, tzinfo=timezone.utc)


def test_the_latest_minute_is_that_which_walking_finds(utc: Celery) -> None:
    choose = random.Random(5)
    for _ in range(100):
        when = crontab(
            minute=choose.choice(["*", "*/7", "3,50"]),
            hour=choose.choice(["*", "*/5", "2"]),
            day_of_week=choose.choice(["*", "1-5"]),
            app=utc,
        )
        at = NOON + choose.randrange(10**6) * SECOND
        last = at - choose.randrange(1, 3 * 86400) * SECOND
        walked = due_time(when, last, last)
        while (following := due_time(when, walked, walked)) <= at:
            walked = following

        assert due_time(when, last, at) == walked, (when, last, at)


def test_due_times_of_one_entry_never_go_back() -> None:
    app, now, last = Celery(timezone="Europe/Berlin", set_as_current=False), NOON - 60 * DAY, None
    when, seen = crontab(minute="*/30", app=app), []
    while now < NOON:  # the clocks are put back on the way
        next_due = due_time(when, last, now)
        if next_due <= now:
            seen.append(next_due)
            last = now
        now += 17 * MINUTE

    assert all(earlier < later for earlier, later in pairwise(seen))


def test_a_clocked_schedule_is_due_at_its_time() -> None:
    class Clocked:
        clocked_time = NOON - HOUR

    assert due_time(Clocked(), NOON - DAY, NOON) == NOON - HOUR
