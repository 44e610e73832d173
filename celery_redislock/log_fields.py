"""Log fields: what a log line about a lock has for machines, beside its text for people.

They are flat attributes of the log record, so that every JSON formatter shows them. None has the value of an
argument, a token that holds a lock, or a password. The events for Celery's monitors have the same facts, by
the same names without ``redislock_``.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, NamedTuple

from .holder import Holder

__all__ = ["FIELDS", "PREFIX", "Field", "in_log", "of_holder"]

PREFIX = "redislock_"


class Field(NamedTuple):
    """One fact.

    Attributes:
        name: Without ``redislock_``.
        meaning: In Markdown: ``docs/reference/logs.md`` shows it.
    """

    name: str
    meaning: str


#: All facts that a line may have.
FIELDS = (
    Field("lock", "The Redis key of the lock. Of several locks all keys, or the one that was busy or lost."),
    Field("task", "The name of the task."),
    Field("task_id", "The id of the call."),
    Field("action", "What was done: a word of the table below."),
    Field(
        "reason",
        "Why a lock was lost: `expired`, `cut_off`, `taken`, `forced`, `replaced` or `max_hold`. "
        "By what an orphaned one ended: `parent` or `lease`.",
    ),
    Field("shadow", 'Whether it only would have been done, because of `lock_mode="shadow"`.'),
    Field("holder_id", "The id of the task that has the lock, or had it."),
    Field("holder_host", "The host of that task."),
    Field("held_for", "For how long the lock has been held, seconds."),
    Field("lease_left", "In how many seconds the holder's lease ends, unless it is renewed."),
    Field("waited", "How long the call has waited for the lock, seconds."),
    Field("fencing_token", "The fencing token of the one who has, or had, the lock."),
)


def in_log(**facts: Any) -> dict[str, Any]:
    """Return facts as a log line's ``extra``; those that are None are not known, and left out."""
    return {PREFIX + name: value for name, value in facts.items() if value is not None}


def of_holder(holder: Holder | None) -> dict[str, Any]:
    """Return the facts about who has a lock; None where they are not known."""
    if holder is None:
        return {}
    return {
        "holder_id": holder.metadata.get("id"),
        "holder_host": holder.metadata.get("host"),
        "held_for": None if holder.since is None else _seconds_since(holder.since),
        "lease_left": holder.lease_left,
        "fencing_token": holder.fencing_token,
    }


def _seconds_since(moment: datetime) -> float:
    # By two clocks, the server's and this machine's.
    return round(max(0.0, (datetime.now(timezone.utc) - moment).total_seconds()), 3)
