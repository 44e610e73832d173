"""Tally: counts what its process hears of locks, and adds that to the statistics every half minute.

A run leaves a few words and goes on. The thread in the background counts them, and writes. If Redis is away,
or does not allow it, the numbers wait for the next time; a run never does.
"""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple, TypeAlias

from celery import Celery

from .. import events
from ..config.all_off import is_off
from ..config.provider import provider_of
from ..config.schedule import task_names_of
from ..config.settings import SETTINGS
from ..config.unknown_settings import spelled
from ..engine import now
from ..errors import ConfigurationError, RedislockError, StoreUnavailable
from ..messages.headers import BEAT_HEADER
from .background import Background, background_here
from .metrics import action_of
from .statistics_record import ALL_LOCKS, Owner, StatisticsRecord, of_entry, of_task
from .tally_sheet import Sheet

logger = logging.getLogger(__name__)

#: How often a process writes, seconds.
EVERY_S = 30.0
#: Numbers that do not fit into one write are in the next, after so many seconds.
PACE_S = 1.0
#: How long one write may take, seconds: others use this thread, too.
WRITE_S = 2.0
#: How often at most the thread is told that there is something to count, seconds.
WAKE_S = 1.0
#: More events than this do not wait to be counted.
MOST_HEARD = 50_000
#: A renewal that is asked for so long after it was due is a late one, seconds.
LATE_S = 1.0

#: What is done about a call that does not run.
_ENDS_UNRUN = frozenset({"skip", "fail", "superseded", "not_published"})
#: No other run has the lock that the call met, or it was told already.
_WITHOUT_HOLDER = frozenset({"superseded", "put_off"})

#: What a run leaves of an event: how it is counted, and with which words.
Note: TypeAlias = "tuple[Callable[..., None], tuple[Any, ...]]"


class Tick(NamedTuple):
    """Which due time of a schedule a run is for.

    Attributes:
        entry: The name of the entry.
        due: ISO 8601.
        at_s: What the clock of this process says, seconds since 1970.
    """

    entry: str
    due: str
    at_s: float

    @property
    def waited_s(self) -> float | None:
        """For how long the due time has come, seconds; None: the message does not say when it was."""
        try:
            due = datetime.fromisoformat(self.due)
        except ValueError:
            return None
        return self.at_s - (due if due.tzinfo else due.replace(tzinfo=timezone.utc)).timestamp()


def _tick_of(task: Any) -> Tick | None:
    """Return the tick of the run that goes on here; None for most, and for its retries."""
    request = task.request_stack.top
    headers = None if request is None else request.headers
    return None if not headers or BEAT_HEADER not in headers or request.retries else _tick_in(headers)


def _tick_in(headers: Any) -> Tick | None:
    tick = headers.get(BEAT_HEADER) if headers else None
    # Headers come from outside.
    if not isinstance(tick, Mapping):
        return None
    entry, due = tick.get("entry"), tick.get("due")
    return Tick(entry, due, time.time()) if isinstance(entry, str) and isinstance(due, str) else None


class Tally:
    """Counts what one app's process hears.

    Args:
        record: Where the numbers are added.
        scheduled: Names of tasks whose run times are counted.
        background: The thread.
        every_s: How often it writes, seconds.
    """

    def __init__(
        self,
        record: StatisticsRecord,
        scheduled: Collection[str] = (),
        background: Background | None = None,
        every_s: float = EVERY_S,
    ) -> None:
        self._record = record
        self._scheduled = frozenset(scheduled)
        self._background = background or background_here()
        self._every_s = every_s
        self._heard: deque[Note] = deque()
        self._woken_at = -WAKE_S
        self._dropped = 0
        # From here on: of the thread alone.
        self._sheet = Sheet()
        self._is_due = False
        self._has_warned = False
        self._round_trip_s: float | None = None

    def hear(self, event: Any) -> None:
        """Take note of an event."""
        note = _NOTES.get(type(event))
        if note is None:
            return
        if len(self._heard) >= MOST_HEARD:
            self._dropped += 1
            return
        self._heard.append(note(event))
        at = now()
        # Not a flag that the thread takes down again: who is interrupted beside one leaves it up for ever.
        if at - self._woken_at >= WAKE_S:
            self._woken_at = at
            self._background.put(self._count)

    def close(self) -> None:
        """Have the rest written: the process ends."""
        self._background.put(self._finish)

    def _count(self) -> None:
        """Count what was heard, and see to it that it is written."""
        self._count_all()
        if self._round_trip_s is not None:
            self._sheet.add_time(ALL_LOCKS, "round_trip", self._round_trip_s)
            self._round_trip_s = None
        if not self._is_due:
            self._is_due = True
            self._background.put_later(self._write, self._every_s)

    def _count_all(self) -> None:
        sheet, scheduled, heard = self._sheet, self._scheduled, self._heard
        while heard:
            count, words = heard.popleft()
            count(sheet, scheduled, *words)
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            sheet.add(ALL_LOCKS, "dropped", "", dropped)

    def _write(self) -> None:
        """Write what fits into one go, and the rest a second later; what could not be, at the next time."""
        self._is_due = False
        self._count_all()
        if self._sheet.is_empty:
            return
        after_s = PACE_S if self._write_next() else self._every_s
        if not self._sheet.is_empty:
            self._is_due = True
            self._background.put_later(self._write, after_s)

    def _finish(self) -> None:
        """Write all: nothing comes after it."""
        self._count_all()
        while not self._sheet.is_empty and self._write_next():
            pass

    def _write_next(self) -> bool:
        """Write a batch; return False, with a warning the first time, if that is not possible now."""
        batch = self._sheet.next_batch()
        asked_at = now()
        try:
            self._record.add(batch, WRITE_S)
        except RedislockError as error:
            self._warn(error)
            return False
        self._sheet.is_written(batch)
        # Counted with what comes next: by itself it would be something to write, again and again.
        self._round_trip_s = now() - asked_at
        return True

    def _warn(self, error: RedislockError) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "statistics could not be written: %s; this process tries again, and does not say so",
                error.reason if isinstance(error, StoreUnavailable) else error,
            )


def _acquired(event: events.Acquired) -> Note:
    task = event.task
    return _count_acquired, (task.name, event.how, event.waited_s, event.lock.name, _tick_of(task))


def _count_acquired(
    sheet: Sheet, _: Collection[str], task: str, how: str, waited_s: float, lock_name: str, tick: Tick | None
) -> None:
    owner = of_task(task)
    sheet.add(owner, "acquired", how)
    sheet.add_time(owner, "wait", waited_s)
    sheet.add_lock(owner, lock_name)
    if tick is not None:
        _count_begun(sheet, task, tick)


def _count_begun(sheet: Sheet, task: str, tick: Tick) -> None:
    sheet.add(of_entry(tick.entry), "begun")
    waited_s = tick.waited_s
    if waited_s is not None:
        sheet.add_time(of_entry(tick.entry), "wait", waited_s)
        sheet.add_time(of_task(task), "queue", waited_s)


def _released(event: events.Released) -> Note:
    return _count_released, (event.task.name, event.held_s, _tick_of(event.task))


def _count_released(
    sheet: Sheet, scheduled: Collection[str], task: str, held_s: float, tick: Tick | None
) -> None:
    owner = of_task(task)
    sheet.add(owner, "runs", "locked")
    sheet.add_time(owner, "hold", held_s)
    if tick is not None or task in scheduled:
        sheet.add_time(owner, "run", held_s)
    if tick is not None:
        sheet.add_time(of_entry(tick.entry), "run", held_s)


def _ran(event: events.Ran) -> Note:
    return _count_run, (event.task.name, event.state, event.run_s, _tick_of(event.task))


def _count_run(
    sheet: Sheet, _: Collection[str], task: str, state: str, run_s: float, tick: Tick | None
) -> None:
    sheet.add(of_task(task), "runs", state)
    sheet.add_time(of_task(task), "run", run_s)
    if tick is not None:
        _count_begun(sheet, task, tick._replace(at_s=tick.at_s - run_s))
        sheet.add_time(of_entry(tick.entry), "run", run_s)


def _conflicted(event: events.Conflicted) -> Note:
    task = event.task
    tick = _tick_in(event.headers) if str(task.request.id) != event.task_id else _tick_of(task)
    met = (time.time(), event.lock_name, event.task_id, event.holder)
    return _count_conflict, (task.name, action_of(event), event.is_shadow, met, tick)


def _count_conflict(
    sheet: Sheet, _: Collection[str], task: str, action: str, is_shadow: bool, met: Any, tick: Tick | None
) -> None:
    sheet.add(of_task(task), "shadow" if is_shadow else "conflicts", action)
    if action not in _WITHOUT_HOLDER:
        at_s, lock_name, task_id, holder = met
        by = holder.metadata if holder is not None else {}
        facts = [round(at_s, 3), lock_name, task_id, by.get("id", ""), by.get("host", ""), action]
        sheet.add_conflict(task, json.dumps(facts))
    if tick is not None and not is_shadow and action in _ENDS_UNRUN:
        sheet.add(of_entry(tick.entry), "skipped", action)


def _lost(event: events.Lost) -> Note:
    return _count_one, (of_task(event.task.name), "lost", event.reason)


def _lapsed(event: events.Lapsed) -> Note:
    return _count_lapse, (event.task.name, event.idle_s)


def _count_lapse(sheet: Sheet, _: Collection[str], task: str, idle_s: float) -> None:
    sheet.add(of_task(task), "lapsed")
    sheet.set_latest(of_task(task), "idle_ms", round(idle_s * 1000))


def _orphaned(event: events.Orphaned) -> Note:
    return _count_one, (of_task(event.task.name), "orphans", event.by)


def _forced(event: events.Forced) -> Note:
    task = event.holder.metadata.get("task") if event.holder is not None else None
    return _count_one, (of_task(task) if task else ALL_LOCKS, "forced", "")


def _store_failed(event: events.StoreFailed) -> Note:
    return _count_one, (ALL_LOCKS, "store_errors", f"{event.verb}.{event.error}")


def _count_one(sheet: Sheet, _: Collection[str], owner: Owner, kind: str, word: str) -> None:
    sheet.add(owner, kind, word)


def _renewed(event: events.Renewed) -> Note:
    return _count_renewal, (event.result, event.late_s)


def _count_renewal(sheet: Sheet, _: Collection[str], result: str, late_s: float) -> None:
    sheet.add(ALL_LOCKS, "renewals", result)
    sheet.add_time(ALL_LOCKS, "late", late_s)
    if late_s > LATE_S:
        sheet.add(ALL_LOCKS, "late")


def _ticked(event: events.Ticked) -> Note:
    return _count_tick, (event.entry, event.result, event.interval_s, event.ahead_s)


def _count_tick(
    sheet: Sheet, _: Collection[str], entry: str, result: str, interval_s: float, ahead_s: float | None
) -> None:
    sheet.add(of_entry(entry), "ticks", result)
    if interval_s:
        sheet.set_latest(of_entry(entry), "interval_ms", round(interval_s * 1000))
    if ahead_s is not None:
        sheet.set_latest(of_entry(entry), "ahead_ms", round(ahead_s * 1000))


#: What is heard, and what a run leaves of it.
_NOTES: Mapping[type[Any], Callable[[Any], Note]] = {
    events.Acquired: _acquired,
    events.Released: _released,
    events.Ran: _ran,
    events.Conflicted: _conflicted,
    events.Lost: _lost,
    events.Lapsed: _lapsed,
    events.Orphaned: _orphaned,
    events.Forced: _forced,
    events.Renewed: _renewed,
    events.StoreFailed: _store_failed,
    events.Ticked: _ticked,
}


def is_wanted(app: Celery) -> bool:
    """Return the setting `redislock_stats`.

    Raises:
        ConfigurationError: It is wrong.
    """
    value = SETTINGS["redislock_stats"].of(app.conf)
    if isinstance(value, bool):
        return value
    label = spelled(app.conf, "redislock_stats")
    raise ConfigurationError(f"{label} setting must be True or False: whether statistics are written")


def destination_of(app: Celery) -> Tally | None:
    """Return the tally of an app; None: it is turned off, or none of its tasks takes a lock.

    Raises:
        ConfigurationError: A setting is wrong.
    """
    if not is_wanted(app) or is_off(app):
        return None
    provider = provider_of(app)
    return Tally(StatisticsRecord(provider.client, provider.prefix), task_names_of(app))
