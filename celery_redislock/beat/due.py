"""Due: which due time of a schedule is to be sent, on the Redis server's clock (pure).

*Due* is last sent + interval, for a crontab the scheduled minute, for a clocked schedule its time, else
the moment at which it is asked. Of several that have passed it is the latest.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any

from celery.schedules import crontab, schedule
from celery.utils.time import delta_resolution, maybe_make_aware

from ..engine.lease.lease import now

#: How far back a crontab is looked up that was never sent: one that is due on 29 February.
_FAR = timedelta(days=8 * 366)
_MINUTE = timedelta(minutes=1)
_MS = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class ServerClock:
    """The Redis server's clock, told by it now and then and counted on by ours in between.

    Steps of the machine's own wall clock do not move it.
    """

    def __init__(self, server_ms: int) -> None:
        self.told(server_ms)
        self._ahead_s = self.ahead_s

    def told(self, server_ms: int) -> None:
        """Take note of what the server said just now, milliseconds since 1970."""
        self._server_ms = server_ms
        self._told_at = now()

    @property
    def now_ms(self) -> int:
        """Milliseconds since 1970; behind the server by the way of its last reply, never ahead."""
        return self._server_ms + int((now() - self._told_at) * 1000)

    @property
    def ahead_s(self) -> float:
        """How far the machine's wall clock is ahead of the server's, seconds."""
        return time.time() - self.now_ms / 1000

    def was_wall_clock_stepped(self) -> bool:
        """Whether the machine's wall clock has moved by a second since this was asked last."""
        moved_s = self.ahead_s - self._ahead_s
        if abs(moved_s) < 1:
            return False
        self._ahead_s += moved_s
        return True


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


def to_ms(moment: datetime) -> int:
    """Return milliseconds since 1970."""
    return (moment - _EPOCH) // _MS


def from_ms(ms: int) -> datetime:
    """Return the moment so many milliseconds after 1970, in UTC."""
    return _EPOCH + ms * _MS
