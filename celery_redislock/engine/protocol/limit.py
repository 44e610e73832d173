"""Limit: what an operator has set for a lock while it is in use: how Redis is told, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any

from ...durations import EPOCH
from ...holder import PAUSED_BY
from . import holder_record
from .keys import LockKeys, group_keys_of
from .script import Question, Script
from .wire import Argument, Command

LIMIT = Script.load(files(__package__).joinpath("..", "scripts", "shared"), "limit")

#: In place of a number: nobody may take the lock; each asker's own limit counts.
PAUSE, NONE = "0", ""


@dataclass(frozen=True)
class Limit:
    """What an operator has set for a lock, in place of the limits of those who ask for it.

    Attributes:
        name: The Redis key of the lock.
        limit: At most so many may share it; None: that is not set.
        paused: Nobody may take it.
        by: Who has set it, as user@host; None where nothing is set.
        since: When, by the clock of the Redis server.
        until: When it ends; None: it does not end by itself.
        note: Why.
    """

    name: str
    limit: int | None = None
    paused: bool = False
    by: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    note: str = ""

    @property
    def is_set(self) -> bool:
        """Whether there is anything."""
        return self.paused or self.limit is not None

    def as_dict(self) -> dict[str, Any]:
        """Return the same facts, without the name, as plain JSON types."""
        return {
            "limit": self.limit,
            "paused": self.paused,
            "by": self.by,
            "since": self.since.isoformat() if self.since else None,
            "until": self.until.isoformat() if self.until else None,
            "note": self.note,
        }

    def __str__(self) -> str:
        if not self.is_set:
            return "no limit is set"
        what = "paused" if self.paused else f"at most {self.limit}, set"
        until = f" until {self.until.isoformat(timespec='seconds')}" if self.until else ""
        return f"{what} by {self.by}{until}" + (f": {self.note}" if self.note else "")


def change(
    keys: LockKeys, mark: str, number: str, since: datetime, ends: datetime | None, by: str, note: str
) -> Question:
    """Set, or take away, what an operator decides.

    Args:
        keys: Of the lock.
        mark: 32 characters, of this change: a second send does nothing.
        number: How many may share the lock, or `PAUSE`, or `NONE`.
        since: The time of the server.
        ends: When it ends by itself; None: it does not.
        by: Who it is.
        note: Why.
    """
    facts = {PAUSED_BY if number == PAUSE else "by": by}
    facts |= {"until": ends.isoformat(timespec="seconds")} if ends else {}
    facts |= {"note": note} if note else {}
    asked = (keys.lock, keys.holder, keys.waiters, keys.seen, keys.questions_of(mark), *group_keys_of(keys))
    return LIMIT, asked, (number, _ms(since), _ms(ends) if ends else "-", holder_record.write(facts))


def record_of(arguments: Sequence[Argument]) -> bytes:
    """Return the record that a change leaves, from its arguments."""
    return " ".join(map(str, arguments)).encode()


def kept(keys: LockKeys) -> Command:
    """Ask for what is set; `read` reads the reply."""
    return ("GET", group_keys_of(keys).limit)


def read(name: str, record: bytes | None) -> Limit:
    """Return what is set for the lock with this name."""
    if not record:
        return Limit(name)
    number, since, ends, metadata = record.decode().split(" ", 3)
    facts: Mapping[str, str] = holder_record.read_metadata(metadata)
    is_paused = number == PAUSE
    return Limit(
        name,
        limit=None if is_paused else int(number),
        paused=is_paused,
        by=facts.get(PAUSED_BY) or facts.get("by"),
        since=_time(since),
        until=None if ends == "-" else _time(ends),
        note=facts.get("note", ""),
    )


def _ms(when: datetime) -> int:
    return (when - EPOCH) // timedelta(milliseconds=1)


def _time(ms: str) -> datetime:
    return EPOCH + timedelta(milliseconds=int(ms))
