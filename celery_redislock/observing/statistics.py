"""Statistics: what the processes of an app have counted, read back from Redis.

```python
import_csv = read(app, since_s=86400).task("shop.import_csv")
import_csv.count("conflicts", "skip"), import_csv.percentile("hold", 0.95)
```
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, NamedTuple

from celery import Celery

from ..config.provider import provider_of
from .counting import Numbers, seconds_of
from .statistics_record import (
    ALL_LOCKS,
    DAY_S,
    KEPT_S,
    Counted,
    StatisticsRecord,
    of_beats,
    of_entry,
    of_task,
)

__all__ = ["EngineNumbers", "EntryNumbers", "LastConflict", "Statistics", "TaskNumbers", "read"]


_TASK, _ENTRY, _BEATS = of_task("")[0], of_entry("")[0], of_beats("")[0]


class LastConflict(NamedTuple):
    """A call that met a busy lock.

    Attributes:
        when: By the clock of the process that met it.
        lock_name: The Redis key.
        task_id: Of the call.
        holder_id: The task id of who had the lock; "": not known.
        host: Its host; "": not known.
        action: As of `events.Conflicted`.
    """

    when: datetime
    lock_name: str
    task_id: str
    holder_id: str
    host: str
    action: str


@dataclass(frozen=True)
class TaskNumbers(Numbers):
    """What was counted of a task.

    Counts: ``acquired`` ("at_once", "waited"), ``conflicts`` (by action), ``shadow`` (by action: the body ran
    all the same), ``not_published`` (by action: met before the call was published), ``lost`` (by reason),
    ``lapsed`` (a batch had lost its lock before this member of it began), ``orphans`` (by whom they were
    given back), ``forced``, ``runs`` ("locked"; of tasks in the schedule that
    have no lock "returned", "failed", "retried").
    Lengths of time: ``wait``, ``hold``, ``run`` (of tasks in the schedule), ``queue`` (from the due time of
    the schedule to the begin).

    Attributes:
        distinct_locks: How many different locks its runs took: an estimate, within a few percent.
        last_conflicts: The latest ones, newest first.
        idle_s: The `lock_idle` of the batch that had lost its lock last, seconds; 0.0: none had.
    """

    distinct_locks: int = 0
    last_conflicts: tuple[LastConflict, ...] = ()
    idle_s: float = 0.0


@dataclass(frozen=True)
class EntryNumbers(Numbers):
    """What was counted of an entry of the schedule, as `LockedScheduler` sends it.

    Counts: ``ticks`` (by result), ``begun``, ``skipped`` ("skip", "fail", "not_published", "superseded").
    Lengths of time: ``wait`` (from its due time to the begin of the run), ``run``.

    Attributes:
        interval_s: The shortest time between two of its due times, as it was last; 0.0: not known.
        ahead_s: How far the clock of the beat's host was ahead of the Redis server's at the last due time.
    """

    interval_s: float = 0.0
    ahead_s: float = 0.0

    def ticks(self, result: str = "") -> int:
        """Return how many due times came, or had this result: see `events.Ticked`."""
        return self.count("ticks", result)

    @property
    def begun(self) -> int:
        """How many of its runs began."""
        return self.count("begun")

    @property
    def skipped(self) -> int:
        """How many of its runs ended because another run had the lock, or stands for them."""
        return self.count("skipped")


@dataclass(frozen=True)
class EngineNumbers(Numbers):
    """What was counted of the locks of all tasks together.

    Counts: ``renewals`` ("renewed", "lost", "failed"), ``late`` (those of them that were asked for more than
    a second late), ``forced`` (where the task is not known), ``dropped`` (events that were not counted: there
    were too many).
    Lengths of time: ``late`` (of renewals), ``round_trip`` (of writing the statistics).
    """

    @property
    def worst_late_s(self) -> float:
        """How long after it was due the latest renewal was asked for, seconds, within a tenth."""
        late = self.times.get("late")
        return seconds_of(max(late)) if late and max(late) else 0.0

    def store_errors(self, verb: str = "", error: str = "") -> int:
        """Return how often Redis did not do what it was asked.

        Args:
            verb: What was asked; "": whatever it was.
            error: The name of the error's class; "": whatever it was.
        """
        found = (
            (word.partition("."), number)
            for (kind, word), number in self.counts.items()
            if kind == "store_errors"
        )
        return sum(
            number
            for (of_verb, _, of_error), number in found
            if verb in ("", of_verb) and error in ("", of_error)
        )


@dataclass(frozen=True)
class Statistics:
    """What was counted.

    Attributes:
        tasks: By name; only tasks of which something was counted.
        entries: By name.
        engine: Of all together.
        beats: By task: how often two beats were seen to send it beside each other, see ``beat_origins.py``.
            Counts: ``plain`` (neither locks), ``mixed`` (one does), by the origins of both.
        since: The begin of the hour of the oldest number; None: there is no number.
    """

    tasks: Mapping[str, TaskNumbers] = field(default_factory=dict)
    entries: Mapping[str, EntryNumbers] = field(default_factory=dict)
    engine: EngineNumbers = field(default_factory=EngineNumbers)
    since: datetime | None = None
    beats: Mapping[str, Numbers] = field(default_factory=dict)

    def task(self, name: str) -> TaskNumbers:
        """Return the numbers of a task; zeros if nothing was counted of it."""
        return self.tasks.get(name, TaskNumbers())

    def entry(self, name: str) -> EntryNumbers:
        """Return the numbers of an entry; zeros if nothing was counted of it."""
        return self.entries.get(name, EntryNumbers())


def read(app: Celery, since_s: float = 7 * DAY_S) -> Statistics:
    """Return what the processes of an app have counted: what they have written until now.

    Counts are kept by the hour, lengths of time and locks by the day: the hour, or the day, in which the
    time begins is read as a whole.

    Args:
        app: The app.
        since_s: From how long ago on, seconds; at most eight days are kept.

    Raises:
        StoreUnavailable: Redis could not be reached, or refused.
        ConfigurationError: A setting is wrong.
    """
    provider = provider_of(app)
    record = StatisticsRecord(provider.client, provider.prefix)
    now_s = time.time()
    stretch = now_s - min(since_s, KEPT_S), now_s
    found, first_s = record.read(*stretch)
    engine = found.get(ALL_LOCKS, Counted())
    return Statistics(
        _of_tasks(record, {name: each for (owner, name), each in found.items() if owner == _TASK}, stretch),
        {name: _of_an_entry(each) for (owner, name), each in found.items() if owner == _ENTRY},
        EngineNumbers(engine.counts, engine.times),
        None if first_s is None else datetime.fromtimestamp(first_s, timezone.utc),
        {name: Numbers(each.counts) for (owner, name), each in found.items() if owner == _BEATS},
    )


def _of_tasks(
    record: StatisticsRecord, found: Mapping[str, Counted], stretch: tuple[float, float]
) -> dict[str, TaskNumbers]:
    numbers = {name: TaskNumbers(each.counts, each.times) for name, each in found.items()}
    locks = record.different_locks([name for name, each in found.items() if each.looked], *stretch)
    met = [name for name, each in numbers.items() if each.count("conflicts") + each.count("shadow")]
    conflicts = record.last_conflicts(met)
    return {
        name: replace(
            each,
            distinct_locks=_distinct(each, found[name], locks[name]) if name in locks else 0,
            last_conflicts=_newest_first(conflicts.get(name, ()), stretch[0]),
            idle_s=found[name].latest.get("idle_ms", 0) / 1000,
        )
        for name, each in numbers.items()
    }


def _newest_first(written: Iterable[Any], begin_s: float) -> tuple[LastConflict, ...]:
    conflicts = [_conflict(*each) for each in written]
    return tuple(each for each in reversed(conflicts) if each.when.timestamp() >= begin_s)


def _distinct(numbers: TaskNumbers, counted: Counted, different: int) -> int:
    """Return how many different locks were taken; of a busy task not each was looked at."""
    acquired = numbers.count("acquired")
    return min(acquired, round(different * max(1.0, acquired / counted.looked)))


def _of_an_entry(counted: Counted) -> EntryNumbers:
    interval_s, ahead_s = (counted.latest.get(kind, 0) / 1000 for kind in ("interval_ms", "ahead_ms"))
    return EntryNumbers(counted.counts, counted.times, interval_s, ahead_s)


def _conflict(when_s: float, *words: str) -> LastConflict:
    return LastConflict(datetime.fromtimestamp(when_s, timezone.utc), *words)
