"""Histories: what the rules of the history look at, made of plain numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from celery import Celery

from celery_redislock.doctor.configuration import Configuration
from celery_redislock.doctor.history import History
from celery_redislock.doctor.rule import CannotLook
from celery_redislock.observing.counting import Numbers, bucket_of
from celery_redislock.observing.statistics import EngineNumbers, EntryNumbers, Statistics, TaskNumbers

Counts = Mapping[tuple[str, str], int]


def buckets(**times: Sequence[float]) -> dict[str, dict[int, int]]:
    """Return lengths of time, seconds, by kind, as they are kept."""
    return {kind: dict(Counter(map(bucket_of, each))) for kind, each in times.items()}


def task_numbers(counts: Counts | None = None, locks: int = 0, **times: Sequence[float]) -> TaskNumbers:
    """Return what was counted of a task."""
    return TaskNumbers(counts or {}, buckets(**times), locks)


def entry_numbers(
    sent: int, begun: int, skipped: int, interval_s: float = 0.0, lost: int = 0, **times: Sequence[float]
) -> EntryNumbers:
    """Return what was counted of an entry."""
    counts = {
        ("ticks", "sent"): sent,
        ("ticks", "lost"): lost,
        ("begun", ""): begun,
        ("skipped", "skip"): skipped,
    }
    return EntryNumbers(counts, buckets(**times), interval_s)


def engine_numbers(*late_s: float) -> EngineNumbers:
    """Return what was counted of all locks: how late leases were renewed, seconds."""
    return EngineNumbers({}, buckets(late=late_s))


def history(
    app: Celery,
    tasks: Mapping[str, TaskNumbers] | None = None,
    entries: Mapping[str, EntryNumbers] | None = None,
    engine: EngineNumbers | None = None,
    beats: Mapping[str, Numbers] | None = None,
    live: Any = None,
) -> History:
    """Return what has happened in an app; the last day was as all the days before."""
    statistics = Statistics(tasks or {}, entries or {}, engine or EngineNumbers(), beats=beats or {})
    found = History(live or _Unseen(app), statistics)
    found.last_day = statistics
    return found


class _Unseen:
    """What runs now is not looked at, and no worker answers."""

    def __init__(self, app: Celery) -> None:
        self.configured = Configuration(app)

    @property
    def workers(self) -> Any:
        """The workers that answer."""
        raise CannotLook("no worker has answered")
