"""Schedule: what the setting `beat_schedule` names, and how often each entry comes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from celery import Celery
from celery.schedules import crontab, maybe_schedule, schedule

_DAY = timedelta(days=1)
#: Two scheduled days are looked for in so many years; the second is for 29 February on a day of the week.
_YEARS = (5, 60)
_FIRST_DAY = date(2000, 1, 1)


@dataclass(frozen=True)
class Entry:
    """One entry of the schedule.

    Attributes:
        name: In the schedule.
        task_name: What it publishes.
        interval_s: The shortest time between two of its due times, seconds; 0.0: not known.
    """

    name: str
    task_name: str
    interval_s: float


def entries_of(app: Celery) -> tuple[Entry, ...]:
    """Return the entries of the setting `beat_schedule`. A schedule that is kept elsewhere is not seen."""
    return tuple(_readable(app.conf.beat_schedule or {}))


def task_names_of(app: Celery) -> frozenset[str]:
    """Return the names of the tasks that `beat_schedule` publishes; quicker than all of their entries."""
    entries = (app.conf.beat_schedule or {}).values()
    names = (fields.get("task") for fields in entries if isinstance(fields, Mapping))
    return frozenset(name for name in names if isinstance(name, str))


def _readable(entries: Mapping[str, Any]) -> Iterator[Entry]:
    for name, fields in entries.items():
        # What is none is for Celery to refuse, when a beat starts.
        if isinstance(fields, Mapping) and isinstance(fields.get("task"), str):
            yield Entry(str(name), fields["task"], shortest_interval_s(fields.get("schedule")))


def shortest_interval_s(when: Any) -> float:
    """Return the shortest time between two due times of a schedule, seconds; 0.0: not known.

    Args:
        when: As in the setting `beat_schedule`: seconds, a `timedelta`, or a schedule. Of a schedule that is
            no interval and no crontab nothing is known, such as sunrise.
    """
    if isinstance(when, crontab):
        return _shortest_of_crontab_s(when)
    if not isinstance(when, (int, float, timedelta, schedule)):
        return 0.0
    return max(0.0, float(maybe_schedule(when).seconds))  # type: ignore[arg-type,union-attr]


def _shortest_of_crontab_s(when: Any) -> float:
    """Return the same of a crontab; the hour that summer time takes away or adds is not looked at."""
    minutes = sorted(60 * hour + minute for hour in when.hour for minute in when.minute)
    gaps = [later - earlier for earlier, later in pairwise(minutes)]
    days = _shortest_days(when)
    if days:
        gaps.append(days * 24 * 60 - minutes[-1] + minutes[0])
    return 60.0 * min(gaps, default=0)


def _shortest_days(when: Any) -> int:
    """Return how many days lie between two scheduled days that follow each other; 0: there are no two."""
    for years in _YEARS:
        days = [number for number in range(years * 366) if _is_scheduled(when, _FIRST_DAY + number * _DAY)]
        if len(days) > 1:
            return min(later - earlier for earlier, later in pairwise(days))
    return 0


def _is_scheduled(when: Any, day: date) -> bool:
    return (
        day.month in when.month_of_year
        and day.day in when.day_of_month
        and day.isoweekday() % 7 in when.day_of_week
    )
