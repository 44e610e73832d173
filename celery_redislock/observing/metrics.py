"""Metrics: the table of what is counted: name, kind, labels, help, and how an event feeds it.

Prometheus and OpenTelemetry read this one table, so they count the same. It imports neither.

The label `task` is always a task's name; no lock's name and no argument is ever a label.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from .. import events

__all__ = [
    "COUNTER",
    "GAUGE",
    "HISTOGRAM",
    "METRICS",
    "UP_DOWN",
    "Feed",
    "Metric",
    "Sample",
    "action_of",
    "feeds_of",
]

#: The kinds. A counter is added to, a histogram observes, "up_down" goes up and down, a gauge is set.
COUNTER, HISTOGRAM, UP_DOWN, GAUGE = "counter", "histogram", "up_down", "gauge"


#: What one event does to one metric: a value for each of its labels, in their order, and what is added,
#: observed or set. A plain tuple: five are made in each run, and a named one takes three times as long.
Sample: TypeAlias = tuple[tuple[str, ...], float]

#: From an event to its sample; None: this event does nothing to the metric.
Feed: TypeAlias = Callable[[Any], Sample | None]


@dataclass(frozen=True, eq=False)
class Metric:
    """One row of the table.

    Attributes:
        name: As Prometheus shows it; of a histogram without `_bucket`, `_sum` and `_count`.
        otel_name: In OpenTelemetry.
        kind: "counter", "histogram", "up_down" or "gauge".
        labels: Their names.
        help: What it tells, in one sentence.
        unit: As OpenTelemetry writes it.
        buckets: Upper bounds, of a histogram.
        feeds: Which event feeds it, and how; none: it is looked up in Redis.
        words: All values that a label can have, where they are known before anything happens.
        merged: How Prometheus makes one number of those of several processes, of a gauge.
    """

    name: str
    otel_name: str
    kind: str
    labels: tuple[str, ...]
    help: str
    unit: str = "1"
    buckets: tuple[float, ...] = ()
    feeds: Mapping[type[Any], Feed] = field(default_factory=dict)
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    merged: str = "livesum"


#: How a run got its lock.
_HOW = ("at_once", "waited")
#: What was done about a busy lock; see `action_of`.
_ACTIONS = (
    "skip",
    "retry",
    "fail",
    "coalesce",
    "superseded",
    "replace",
    "put_off",
    "not_published",
    "callable",
)
_TRUTH = ("false", "true")

#: Upper bounds, seconds. A wait may be as short as a round trip, and as long as `lock_wait`.
WAIT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
#: Upper bounds, seconds, if `redislock_metrics_hold_buckets` does not say otherwise: 50 ms to 6 h.
HOLD_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 1800, 3600, 10800, 21600)
#: Upper bounds, seconds. A lease lasts 30 s by default, and is renewed every ten.
LATE_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def action_of(event: events.Conflicted) -> str:
    """Return what was done: a call that was about to be published, and is not, is `not_published`."""
    is_refused = not event.is_published and event.action in ("skip", "fail")
    return "not_published" if is_refused else event.action


def _acquired(event: events.Acquired) -> Sample:
    return ((event.task.name, event.how), 1)


def _waited(event: events.Acquired) -> Sample:
    return ((event.task.name,), event.waited_s)


def _begun(event: events.Acquired) -> Sample:
    return ((event.task.name,), 1)


def _ended(event: events.Released) -> Sample:
    return ((event.task.name,), -1)


def _held(event: events.Released) -> Sample:
    return ((event.task.name,), event.held_s)


def _conflicted(event: events.Conflicted) -> Sample:
    return ((event.task.name, action_of(event), "true" if event.is_shadow else "false"), 1)


def _lost(event: events.Lost) -> Sample:
    return ((event.task.name, event.reason), 1)


def _orphaned(event: events.Orphaned) -> Sample:
    return ((event.task.name, event.by), 1)


def _renewed(event: events.Renewed) -> Sample:
    return ((event.result,), 1)


def _late(event: events.Renewed) -> Sample:
    return ((), event.late_s)


def _failed(event: events.StoreFailed) -> Sample:
    return ((event.verb, event.error), 1)


def _ticked(event: events.Ticked) -> Sample:
    return ((event.entry, event.result), 1)


def _sent_now(event: events.Ticked) -> Sample | None:
    return ((event.entry,), time.time()) if event.result == "sent" else None


def _interval(event: events.Ticked) -> Sample | None:
    return ((event.entry, event.task_name), event.interval_s) if event.interval_s else None


def _leads(event: events.Led) -> Sample:
    return ((event.beat,), 1 if event.leads else 0)


ACQUIRED = Metric(
    "redislock_acquired_total",
    "redislock.acquired",
    COUNTER,
    ("task", "how"),
    "Runs that got their lock, at once or after waiting.",
    feeds={events.Acquired: _acquired},
    words={"how": _HOW},
)
CONFLICTS = Metric(
    "redislock_conflicts_total",
    "redislock.conflicts",
    COUNTER,
    ("task", "action", "shadow"),
    "Calls that met a busy lock, by what was done, or with shadow would have been done.",
    feeds={events.Conflicted: _conflicted},
    words={"action": _ACTIONS, "shadow": _TRUTH},
)
WAIT = Metric(
    "redislock_wait_seconds",
    "redislock.wait_time",
    HISTOGRAM,
    ("task",),
    "How long runs waited for their lock, of those that got it.",
    unit="s",
    buckets=WAIT_S,
    feeds={events.Acquired: _waited},
)
HOLD = Metric(
    "redislock_hold_seconds",
    "redislock.hold_time",
    HISTOGRAM,
    ("task",),
    "How long runs had their lock.",
    unit="s",
    buckets=HOLD_S,
    feeds={events.Released: _held},
)
LOST = Metric(
    "redislock_lost_total",
    "redislock.lost",
    COUNTER,
    ("task", "reason"),
    "Locks that a run lost while its body went on: another run may have begun beside it.",
    feeds={events.Lost: _lost},
    words={"reason": events.LOSS_REASONS},
)
RENEWALS = Metric(
    "redislock_renewals_total",
    "redislock.renewals",
    COUNTER,
    ("result",),
    "Renewals of leases.",
    feeds={events.Renewed: _renewed},
    words={"result": ("renewed", "failed", "lost")},
)
RENEWAL_LATE = Metric(
    "redislock_renewal_late_seconds",
    "redislock.renewal_delay",
    HISTOGRAM,
    (),
    "How long after it was due a lease was renewed: late renewals come before lost locks.",
    unit="s",
    buckets=LATE_S,
    feeds={events.Renewed: _late},
)
ORPHANS = Metric(
    "redislock_orphans_total",
    "redislock.orphans",
    COUNTER,
    ("task", "by"),
    "Locks of runs that are gone, by what ended them: the worker's parent, or the end of the lease.",
    feeds={events.Orphaned: _orphaned},
    words={"by": events.ENDED_BY},
)
STORE_ERRORS = Metric(
    "redislock_store_errors_total",
    "redislock.store_errors",
    COUNTER,
    ("verb", "error_type"),
    "Requests that Redis did not answer or refused, by what was asked and the class of the error.",
    feeds={events.StoreFailed: _failed},
)
RUNNING = Metric(
    "redislock_running",
    "redislock.running",
    UP_DOWN,
    ("task",),
    "Runs that have their lock now, in this worker.",
    feeds={events.Acquired: _begun, events.Released: _ended},
)
BEAT_TICKS = Metric(
    "redislock_beat_ticks_total",
    "redislock.beat.ticks",
    COUNTER,
    ("entry", "result"),
    "Due times of an entry of the schedule, by what became of them.",
    feeds={events.Ticked: _ticked},
    words={"result": ("sent", "taken", "early", "lost")},
)
BEAT_LEADER = Metric(
    "redislock_beat_leader",
    "redislock.beat.leader",
    GAUGE,
    ("beat",),
    "1 while this beat leads its group, 0 while it stands by.",
    feeds={events.Led: _leads},
)
BEAT_LAST_TICK = Metric(
    "redislock_beat_last_tick_timestamp_seconds",
    "redislock.beat.last_tick_timestamp",
    GAUGE,
    ("entry",),
    "When this beat last sent an entry, as a Unix time.",
    unit="s",
    feeds={events.Ticked: _sent_now},
    merged="max",
)
SCHEDULE_INTERVAL = Metric(
    "redislock_schedule_interval_seconds",
    "redislock.schedule.interval",
    GAUGE,
    ("entry", "task"),
    "How long it is from one due time of an entry to the next.",
    unit="s",
    feeds={events.Ticked: _interval},
    merged="mostrecent",
)
#: Of the whole fleet, looked up in Redis by `celery locks exporter`.
UP = Metric(
    "redislock_up",
    "redislock.up",
    GAUGE,
    (),
    "1: Redis could be asked, 0: it is away, and the rest is missing.",
)
LOOKED_AT_ALL = Metric(
    "redislock_looked_at_all",
    "redislock.looked_at_all",
    GAUGE,
    (),
    "1: all locks were looked at, 0: there are too many to look at all of them in five seconds.",
)
HELD = Metric(
    "redislock_held", "redislock.held", GAUGE, ("task",), "Locks that are held, of all workers together."
)
WAITERS = Metric(
    "redislock_waiters",
    "redislock.waiters",
    GAUGE,
    ("task",),
    "Runs that wait for the locks of this task, of all workers together.",
)
OLDEST_WAIT = Metric(
    "redislock_oldest_wait_seconds",
    "redislock.oldest_wait",
    GAUGE,
    ("task",),
    "How long the first in line has waited for a lock of this task.",
    unit="s",
)
OLDEST_HOLD = Metric(
    "redislock_oldest_hold_seconds",
    "redislock.oldest_hold",
    GAUGE,
    ("task",),
    "How long the longest holder has had a lock of this task.",
    unit="s",
)

#: All of them, in the order of the reference.
METRICS = (
    ACQUIRED,
    CONFLICTS,
    WAIT,
    HOLD,
    LOST,
    RENEWALS,
    RENEWAL_LATE,
    ORPHANS,
    STORE_ERRORS,
    RUNNING,
    BEAT_TICKS,
    BEAT_LEADER,
    BEAT_LAST_TICK,
    SCHEDULE_INTERVAL,
    UP,
    LOOKED_AT_ALL,
    HELD,
    WAITERS,
    OLDEST_WAIT,
    OLDEST_HOLD,
)


def feeds_of(kind: type[Any]) -> tuple[tuple[Metric, Feed], ...]:
    """Return the metrics that a kind of event feeds, and how."""
    return tuple((metric, metric.feeds[kind]) for metric in METRICS if kind in metric.feeds)
