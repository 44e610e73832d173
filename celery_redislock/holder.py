"""Holder: who has a lock and since when, as far as Redis can tell."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

#: Name in a holder's metadata of its place in a distributed trace, https://www.w3.org/TR/trace-context/.
TRACEPARENT = "traceparent"
#: Name of who has paused the lock, where that is what keeps others out, and nobody holds it.
PAUSED_BY = "paused_by"


def holder_metadata(task: str, id: str | None = None) -> dict[str, str]:  # noqa: A002 - the word in Redis
    """Return what a holder says of itself: task, id, host and pid of this process; never an argument's value.

    Args:
        task: Its name, or what else has the lock.
        id: Of the task; None: it has none.
    """
    of_run = {} if id is None else {"id": id}
    return {"task": task, **of_run, "host": socket.gethostname(), "pid": str(os.getpid())}


@dataclass(frozen=True)
class Holder:
    """Who held a lock at the moment of asking. It never shows the token.

    Another program that takes the lock with ``SET NX PX`` says nothing of itself. Then only `lease_left` is
    known, and the other fields are empty.

    Where nobody holds the lock, but an operator has paused it, `is_pause` is true: `metadata` has
    ``paused_by``, and ``until`` and ``note`` where they were given; `lease_left` lasts until that end.

    Attributes:
        metadata: What the holder said of itself, text to text: ``task``, ``id``, ``host``, ``pid``; with
            `redislock_traces` also ``traceparent``, which ``str()`` leaves out.
        since: When the lock was taken, by the clock of the Redis server.
        lease_left: Seconds until the lease ends, or None if it never ends.
        fencing_token: The number of this grant.
        slot: The number of its place, where the lock has a limit.
    """

    metadata: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None
    lease_left: float | None = None
    fencing_token: int | None = None
    slot: int | None = None

    @property
    def is_pause(self) -> bool:
        """Whether nobody holds the lock, and it is paused."""
        return PAUSED_BY in self.metadata

    @property
    def in_the_way(self) -> str:
        """What keeps others out, for the end of a sentence: the holder, or the pause."""
        return str(self) if self.is_pause else f"held by: {self}"

    def as_dict(self) -> dict[str, Any]:
        """Return the same facts as plain JSON types."""
        facts = {
            "metadata": dict(self.metadata),
            "since": self.since.isoformat() if self.since else None,
            "lease_left": self.lease_left,
            "fencing_token": self.fencing_token,
        }
        return facts if self.slot is None else {**facts, "slot": self.slot}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Holder:
        """Rebuild a holder from what `as_dict` returned."""
        since = facts.get("since")
        return cls(
            metadata=dict(facts.get("metadata") or {}),
            since=datetime.fromisoformat(since) if since else None,
            lease_left=facts.get("lease_left"),
            fencing_token=facts.get("fencing_token"),
            slot=facts.get("slot"),
        )

    def __str__(self) -> str:
        return self._pause() if self.is_pause else ", ".join(self._facts())

    def _pause(self) -> str:
        said = self.metadata
        until = f" until {said['until']}" if "until" in said else ""
        return f"paused by {said[PAUSED_BY]}{until}" + (f": {said['note']}" if "note" in said else "")

    def _facts(self) -> list[str]:
        said = [f"{key} {value}" for key, value in self.metadata.items() if key != TRACEPARENT]
        facts = said or ["an unknown holder"]
        if self.slot is not None:
            facts.append(f"slot {self.slot}")
        if self.since is not None:
            facts.append(f"since {self.since.isoformat(timespec='seconds')}")
        if self.lease_left is not None:
            facts.append(f"lease left {self.lease_left:.1f} s")
        return facts
