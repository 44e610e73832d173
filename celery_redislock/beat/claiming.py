"""Claiming: any scheduler of Celery, made to claim each due time in Redis before it sends.

The class that claims is derived from the scheduler's class at run time. A wrapper around the scheduler could
not do it: `Scheduler.tick` decides what is sent, and calls its own `is_due` and `apply_async`.
Celery's schedulers and those of `django_celery_beat` call `is_due` first: a due time is claimed there, before
anything of the entry changes. RedBeat calls only `apply_async`: there it is claimed too, if it was not yet.
"""

from __future__ import annotations

import heapq
import logging
from datetime import datetime, timedelta
from typing import Any

from celery.beat import Scheduler, event_t
from celery.schedules import schedstate

from ..config.schedule import shortest_interval_s
from ..events import Ticked, tell
from ..messages.headers import BEAT_HEADER
from .clock import from_ms
from .due import due_time, in_utc
from .ledger import Sent, Verdict
from .tenure import Tenure

logger = logging.getLogger(__name__)

#: Two records of one sending may differ by so much, seconds: they are of two clocks.
SAME_S = 0.1
#: An entry's own record may be so far in the future, seconds; if it is further, the clock was stepped back.
FUTURE_S = 1.0


class ClaimingScheduler(Scheduler):
    """What `claiming` adds to the class of a scheduler. Call `begin` before the first tick."""

    def begin(self, tenure: Tenure) -> None:
        """Go on from what was sent last, under the lease of this tenure.

        Args:
            tenure: Of the beat that leads.
        """
        # Otherwise RedBeat takes a lock of its own.
        self.lock_key = None
        self._tenure = tenure
        self._claimed: dict[str, datetime] = {}
        self._early: dict[str, datetime] = {}
        self._intervals: dict[str, tuple[Any, float]] = {}
        self._delays_s: list[float] = []
        for entry in self.schedule.values():
            self._catch_up(entry)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due, as the scheduler does.

        Returns:
            For how long to sleep, seconds.
        """
        self._delays_s.clear()
        self.producer  # noqa: B018 - connects before anything is claimed: the broker may be away
        if self._tenure.clock.was_wall_clock_stepped():
            logger.warning(
                "beat: the clock of this machine has jumped; it is %.1f s ahead of the Redis server's",
                self._tenure.clock.ahead_s,
            )
            self._heap = None
        interval: float = super().tick(*args, **kwargs)
        return min([interval, *self._delays_s])

    def populate_heap(self, *args: Any, **kwargs: Any) -> None:
        """Put the entries in order, each going on from what was sent last."""
        for entry in self.schedule.values():
            self._catch_up(entry)
        super().populate_heap(*args, **kwargs)

    def is_due(self, entry: Any) -> Any:
        """Return whether an entry is due and its due time is claimed, and when to look again."""
        self._catch_up(entry)
        answer = super().is_due(entry)
        delay_s = self._claim(entry) if answer[0] else answer[1]
        return answer if delay_s is None else schedstate(False, self._put_off(entry, delay_s))

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:
        """Send an entry if its due time is claimed and the lease still runs.

        Args:
            entry: Of the schedule.
            producer: As the scheduler takes it.
            advance: Whether the entry goes on to its next due time.
            **kwargs: As the scheduler takes them.

        Returns:
            The result of the task; None when it was not sent.
        """
        if entry.name not in self._claimed:
            answer = self.is_due(entry)
            if not answer[0]:
                self._delays_s.append(answer[1])
                return None
        due = self._claimed.pop(entry.name)
        if not self._tenure.leads():
            logger.warning(
                "beat: %s, due %s, is not sent: the lease of this beat has ended", entry.name, due.isoformat()
            )
            self._tell(entry, due, "lost")
            return None
        if advance:
            entry = self.reserve(entry)
        options = entry.options
        entry.options = _options_with_header(entry, due)
        result = "lost"
        try:
            sent = super().apply_async(entry, producer=producer, advance=False, **kwargs)
            result = "sent"
            return sent
        finally:
            entry.options = options
            self._tell(entry, due, result)

    def _claim(self, entry: Any) -> float | None:
        """Claim the due time of an entry; return None, or when to claim again, seconds."""
        now = self._tenure.now()
        due = due_time(entry.schedule, self._last_sent(entry), now)
        if due > now:
            self._tell_early(entry, due)
            return (due - now).total_seconds()
        answer = self._tenure.claim(entry.name, due)
        if answer.verdict is Verdict.CLAIMED:
            unsent = self._claimed.pop(entry.name, None)
            if unsent is not None:
                self._tell(entry, unsent, "lost")
            self._claimed[entry.name] = due
        elif answer.verdict is Verdict.TAKEN:
            self._tell(entry, due, "taken")
        elif answer.verdict is Verdict.NOT_YET:
            self._tell_early(entry, due)
        return answer.delay_s

    def _tell_early(self, entry: Any, due: datetime) -> None:
        """Tell that an entry was asked for too early, once for each due time."""
        if self._early.get(entry.name) != due:
            self._early[entry.name] = due
            self._tell(entry, due, "early")

    def _tell(self, entry: Any, due: datetime, result: str) -> None:
        interval_s = self._interval_s(entry)
        ahead_s = self._tenure.clock.ahead_s
        tell(Ticked(self.app, entry.name, entry.task, _as_text(due), result, interval_s, ahead_s))

    def _interval_s(self, entry: Any) -> float:
        """Return the shortest time between two due times of an entry, seconds; 0.0: it is not known."""
        when, interval_s = self._intervals.get(entry.name, (None, 0.0))
        if when is not entry.schedule:
            # It takes a millisecond for a crontab.
            try:
                interval_s = shortest_interval_s(entry.schedule)
            except Exception:  # noqa: BLE001 - a schedule of a class of the user's; the tick goes on
                interval_s = 0.0
            self._intervals[entry.name] = (entry.schedule, interval_s)
        return interval_s

    def _last_sent(self, entry: Any) -> datetime | None:
        """Return when the entry was sent last: by Redis's record or its own, whichever is later."""
        record = self._tenure.sent.get(entry.name)
        own = self._own_record(entry)
        if record is None or (own is not None and _is_later(own, record, entry)):
            return own
        return from_ms(record.at_ms)

    def _own_record(self, entry: Any) -> datetime | None:
        """Return the entry's own last run on the server's clock; None when there is none to believe."""
        if entry.last_run_at is None:
            return None
        ago = in_utc(entry.default_now()) - in_utc(entry.last_run_at)
        return self._tenure.now() - ago if ago.total_seconds() > -FUTURE_S else None

    def _catch_up(self, entry: Any) -> None:
        """Set the entry's last run to Redis's record, if that is later than its own."""
        own, record = self._own_record(entry), self._tenure.sent.get(entry.name)
        if record is None:
            if own is not None:
                self._tenure.note_seen(entry.name, own)
            return
        last = self._last_sent(entry)
        if last is None or (own is not None and abs((last - own).total_seconds()) <= SAME_S):
            return
        _set_last_run(entry, self._tenure.now() - last, was_sent=record.due_ms > 0)

    def _put_off(self, entry: Any, delay_s: float) -> float:
        """Move an entry that may not be sent yet behind those that are due sooner.

        Celery before 5.7 leaves it at the head of the heap, and the entries behind it are late.

        Returns:
            When to look at the heap again, seconds.
        """
        heap: list[Any] | None = self._heap
        if not heap or heap[0].entry is not entry:
            return delay_s
        at = self._when(entry, delay_s)  # type: ignore[attr-defined] # its stubs know less than it has
        later = event_t(at, heap[0].priority, entry)
        heapq.heapreplace(heap, later)
        return delay_s if heap[0] is later else 0


def claiming(scheduler: type[Scheduler]) -> type[ClaimingScheduler]:
    """Return a subclass of a scheduler that claims what it sends."""
    return type(f"Claiming{scheduler.__name__}", (ClaimingScheduler, scheduler), {})


def _is_later(own: datetime, record: Sent, entry: Any) -> bool:
    """Whether the entry's own record is later than Redis's.

    The record of an entry that was never sent only says when this process saw it first: it never counts.
    """
    later_s = (own - from_ms(record.at_ms)).total_seconds()
    return bool(entry.total_run_count) and later_s > SAME_S


def _set_last_run(entry: Any, ago: timedelta, *, was_sent: bool) -> None:
    now = entry.default_now()
    at = in_utc(now) - ago
    # django_celery_beat makes the next entry from the model.
    for holder in (entry, getattr(entry, "model", None)):
        if holder is not None:
            holder.last_run_at = at.astimezone(now.tzinfo) if now.tzinfo else at.replace(tzinfo=None)
            # An entry that is sent only once (`one_off`) looks at its count.
            holder.total_run_count = max(holder.total_run_count, int(was_sent))


def _as_text(due: datetime) -> str:
    """Return a due time as text."""
    return due.isoformat(timespec="milliseconds")


def _options_with_header(entry: Any, due: datetime) -> dict[str, Any]:
    """Return the entry's options with a header that names it and its due time."""
    header = {"entry": entry.name, "due": _as_text(due)}
    return {**entry.options, "headers": {**(entry.options.get("headers") or {}), BEAT_HEADER: header}}
