"""Fleet: the locks of all workers together, by task, as Redis alone knows them.

One look goes over all keys of the prefix, some at a time. However many ask, there is one look at a time, and
it takes at most a tenth of the time: on a large server what is shown is older instead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..config.provider import LockProvider
from ..engine import Inspection, inspect_all, now, server_time, store_of
from ..errors import StoreUnavailable
from .metrics import HELD, LOOKED_AT_ALL, OLDEST_HOLD, OLDEST_WAIT, UP, WAITERS, Metric

#: Of more tasks than this the rest is shown as one, `OTHER`.
MOST_TASKS = 50
OTHER = "other"
#: The task of a lock whose holder says none: another program.
UNKNOWN = "unknown"

#: One look takes at most so long, seconds: Prometheus waits for ten, if its settings do not say otherwise.
LONGEST_LOOK_S = 5.0
#: After a look the next one begins when this many times its length have passed, seconds.
REST = 9


@dataclass
class Row:
    """What is known of the locks of one task.

    Attributes:
        held: How many are held.
        waiters: How many runs wait for them.
        oldest_wait_s: How long the first in line has waited.
        oldest_hold_s: How long the longest holder has had one.
    """

    held: int = 0
    waiters: int = 0
    oldest_wait_s: float = 0.0
    oldest_hold_s: float = 0.0

    def add(self, other: Row) -> None:
        """Take in what is known of other locks."""
        self.held += other.held
        self.waiters += other.waiters
        self.oldest_wait_s = max(self.oldest_wait_s, other.oldest_wait_s)
        self.oldest_hold_s = max(self.oldest_hold_s, other.oldest_hold_s)


@dataclass(frozen=True)
class Look:
    """What one look has found.

    Attributes:
        rows: By task; None: Redis could not be asked.
        is_whole: All locks were looked at.
    """

    rows: dict[str, Row] | None
    is_whole: bool = True


def look(provider: LockProvider, tasks: Iterable[str], longest_s: float = LONGEST_LOOK_S) -> Look:
    """Look at all held locks.

    Args:
        provider: Of the app.
        tasks: These are there in any case.
        longest_s: How long it may take, seconds.
    """
    rows = {task: Row() for task in tasks}
    until = now() + longest_s
    try:
        at = server_time(store_of(provider.client), provider.prefix + "*")
        with closing(_all(provider)) as found:
            for seen in found:
                if _is_of_a_task(seen):
                    rows.setdefault(_task_of(seen), Row()).add(_row(seen, at))
                if now() > until:
                    return Look(rows, is_whole=False)
    except StoreUnavailable:
        return Look(None)
    return Look(rows)


def _all(provider: LockProvider) -> Any:
    return inspect_all(provider.client, provider.prefix)


def _is_of_a_task(seen: Inspection) -> bool:
    # A beat leads for as long as it lives: that says nothing of how long locks are held.
    return seen.holder.metadata.get("role") != "leader"


def _task_of(seen: Inspection) -> str:
    facts = seen.holder.metadata
    if seen.is_paused and seen.line:
        # Nobody has it: it is counted where its waiters belong.
        facts = seen.line[0].metadata
    return facts.get("task") or UNKNOWN


def _row(seen: Inspection, at: datetime) -> Row:
    first = next(iter(seen.line), None)
    return Row(
        held=int(not seen.is_paused),
        waiters=seen.waiters,
        oldest_wait_s=_since(first.since if first else None, at),
        oldest_hold_s=0.0 if seen.is_paused else _since(seen.holder.since, at),
    )


def _since(when: datetime | None, at: datetime) -> float:
    return max((at - when).total_seconds(), 0.0) if when else 0.0


def largest(rows: dict[str, Row], most: int = MOST_TASKS) -> dict[str, Row]:
    """Return the rows of the tasks with the most locks and waiters, and one of all others.

    Args:
        rows: By task.
        most: How many tasks are shown by name.
    """
    order = sorted(rows, key=lambda task: (-rows[task].held - rows[task].waiters, task))
    shown = {task: rows[task] for task in order[:most]}
    for task in order[most:]:
        shown.setdefault(OTHER, Row()).add(rows[task])
    return shown


#: What is told of the fleet.
METRICS = (UP, LOOKED_AT_ALL, HELD, WAITERS, OLDEST_WAIT, OLDEST_HOLD)


class Fleet:
    """Looks at the locks in Redis when it is asked; also a collector of `prometheus_client`.

    Args:
        provider: Of the app.
        tasks: Returns the app's locked tasks.
        look: Looks.
    """

    def __init__(
        self,
        provider: LockProvider,
        tasks: Callable[[], Iterable[str]],
        look: Callable[[LockProvider, Iterable[str]], Look] = look,
    ) -> None:
        self._provider, self._tasks, self._look = provider, tasks, look
        self._looking = threading.Lock()
        self._last, self._again_at = Look(None), 0.0

    def collect(self) -> Iterator[Any]:
        """Return the families of samples."""
        from prometheus_client.core import GaugeMetricFamily

        for metric, values in self.values():
            family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in values.items():
                family.add_metric(labels, value)
            yield family

    def values(self) -> Iterator[tuple[Metric, dict[tuple[str, ...], float]]]:
        """Return each metric with its values, by their labels; of `UP` alone while Redis is away."""
        found = self._found()
        yield UP, {(): float(found.rows is not None)}
        if found.rows is None:
            return
        rows = largest(found.rows)
        yield LOOKED_AT_ALL, {(): float(found.is_whole)}
        yield HELD, {(task,): row.held for task, row in rows.items()}
        yield WAITERS, {(task,): row.waiters for task, row in rows.items()}
        yield OLDEST_WAIT, {(task,): row.oldest_wait_s for task, row in rows.items()}
        yield OLDEST_HOLD, {(task,): row.oldest_hold_s for task, row in rows.items()}

    def _found(self) -> Look:
        """Look, unless it was done just before; who comes meanwhile gets what is found."""
        with self._looking:
            began = now()
            if began >= self._again_at:
                self._last = self._look(self._provider, self._tasks())
                self._again_at = now() + REST * (now() - began)
            return self._last
