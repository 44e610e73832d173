"""Due: which due time of a schedule is to be sent, on the Redis server's clock (pure).

*Due* is last sent + interval, for a crontab the scheduled minute, for a clocked schedule its time, else
the moment at which it is asked. Of several that have passed it is the latest.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from celery.schedules import crontab, schedule
from celery.utils.time import delta_resolution, maybe_make_aware

#: How far back a crontab is looked up that was never sent: one that is due on 29 February.
_FAR = timedelta(days=8 * 366)
_MINUTE = timedelta(minutes=1)


def due_time(when: Any, last: datetime | None, at: datetime) -> datetime:
    """Return the latest due time up to a moment, or the next one if none has come since the last.

    Args:
        when: The schedule of an entry.
        last: When the entry was sent last; None: never.
        at: The moment.
    """
    if isinstance(when, crontab):
        return _scheduled_minute(when, last or at - _FAR, at)
    clocked = getattr(when, "clocked_time", None)
    if isinstance(clocked, datetime):
        return in_utc(clocked)
    if last is None or not isinstance(when, schedule) or when.seconds <= 0:
        return at
    interval = timedelta(seconds=when.seconds)
    due = last + interval * max(1, (at - last) // interval)
    return _rounded(due, when) if when.relative else due


def _rounded(due: datetime, when: Any) -> datetime:
    """Round as Celery does for `relative` schedules: every three hours is on the hour."""
    rounded: datetime = delta_resolution(due.astimezone(when.tz), timedelta(seconds=when.seconds))
    return in_utc(rounded.replace(microsecond=0))


def _scheduled_minute(when: crontab, last: datetime, at: datetime) -> datetime:
    due = _next_minute(when, last)
    latest = at
    # Halving the stretch, not walking it: a year after the last one, every minute of it may be due.
    while due <= latest - _MINUTE:
        middle = due + (latest - due) / 2
        later = _next_minute(when, middle)
        if later <= at:
            due = later
        else:
            latest = middle
    return due


def _next_minute(when: Any, after: datetime) -> datetime:
    """Return the first scheduled minute after a moment."""
    start, delta, _ = when.remaining_delta(after.astimezone(when.tz))
    following: datetime = start + delta
    return in_utc(following)


def in_utc(moment: datetime) -> datetime:
    """Return a moment in UTC; a naive one is taken for UTC, as Celery does."""
    aware: datetime = maybe_make_aware(moment)
    return aware.astimezone(timezone.utc)
