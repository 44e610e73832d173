"""Records: what a test sees of locks, conflicts and due times, as plain data."""

from __future__ import annotations

from typing import NamedTuple

from ..engine import Inspection
from ..events import Conflicted, Ticked
from ..holder import Holder

__all__ = ["SeenConflict", "HeldLock", "Tick", "conflict_of", "held_by", "tick_of"]


class HeldLock(NamedTuple):
    """A lock that somebody holds; one that several share stands there once for each.

    Attributes:
        name: The Redis key.
        task: Of the holder; empty: it is none.
        task_id: Of the holder; empty: it has none.
        by: The host of the holder.
        lease_left: Seconds until it ends unless it is renewed.
        slot: The number of its place, where the lock has a limit.
    """

    name: str
    task: str
    task_id: str
    by: str
    lease_left: float | None
    slot: int | None


class SeenConflict(NamedTuple):
    """A call has found its lock busy.

    Attributes:
        task: Its name.
        task_id: Of the call.
        lock: The Redis key.
        action: What was done: "skip", "retry", "fail", "coalesce", "replace", or as in the event.
        by: The host of the holder; empty: it is not known.
        reason: As one sentence.
    """

    task: str
    task_id: str
    lock: str
    action: str
    by: str
    reason: str


class Tick(NamedTuple):
    """A due time of an entry of the schedule has come.

    Attributes:
        entry: Its name in `beat_schedule`.
        task: What it publishes.
        due: ISO 8601.
        result: "sent", "taken", "early" or "lost".
    """

    entry: str
    task: str
    due: str
    result: str


def held_by(seen: Inspection) -> list[HeldLock]:
    """Return who holds a lock; one that was given back, and is kept busy, has no holder."""
    return [] if seen.is_kept else [_held(seen.name, holder) for holder in seen.holders]


def _held(name: str, holder: Holder) -> HeldLock:
    task, task_id, host = (holder.metadata.get(word, "") for word in ("task", "id", "host"))
    return HeldLock(name, task, task_id, host, holder.lease_left, holder.slot)


def conflict_of(event: Conflicted) -> SeenConflict:
    """Return an event as a record."""
    by = "" if event.holder is None else event.holder.metadata.get("host", "")
    return SeenConflict(event.task.name, event.task_id, event.lock_name, event.action, by, event.reason)


def tick_of(event: Ticked) -> Tick:
    """Return an event as a record."""
    return Tick(event.entry, event.task_name, event.due, event.result)
