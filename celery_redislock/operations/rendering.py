"""Rendering: what people are shown of a lock: as a row, as a text, or as a JSON object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..engine import Inspection
from ..holder import Holder

# What may be long stands last, or it would push the other columns out of their places.
_COLUMNS = "{:<25} {:>10} {:>16} {:>7} {:>7} {:<36} {:<20} {:<28} {}"
_HEADINGS = ("since", "lease left", "fencing token", "waiters", "pid", "id", "host", "task", "lock")

#: The line above the rows.
HEADINGS = _COLUMNS.format(*_HEADINGS)


@dataclass(frozen=True)
class LockView:
    """What is known of one lock.

    Attributes:
        name: The Redis key.
        seen: Who holds it, and who waits; None when it is free.
        members: The metadata of each member in flight, when a batch holds it.
        waiting: Who has published a call that has not begun yet (`lock_scope`); None when nobody has.
    """

    name: str
    seen: Inspection | None
    members: Sequence[Mapping[str, Any]] = ()
    waiting: Holder | None = None

    @classmethod
    def of(cls, seen: Inspection) -> LockView:
        """Return the view of a lock that is held."""
        return cls(seen.name, seen)

    def row(self) -> str:
        """Return one line for a table of held locks, to be printed below `HEADINGS`."""
        values = {**dict.fromkeys(_HEADINGS, "-"), **self._values(), "lock": self.name}
        return _COLUMNS.format(*(values[heading] for heading in _HEADINGS))

    def text(self) -> str:
        """Return some lines for people: all that is known."""
        if self.seen is None:
            lines = [f"{self.name}: free"]
        else:
            lines = [f"{self.name}: held"]
            lines += [f"  {label:<14} {value}" for label, value in self._values().items()]
            lines += map(_member_line, self.members)
        if self.waiting is not None:
            lines.append(f"{self.name}: published and not begun: {self.waiting}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return all that is known as JSON types."""
        known: dict[str, Any] = {"name": self.name, "held": self.seen is not None}
        if self.seen is not None:
            known |= {"kept": self.seen.is_kept, "waiters": self.seen.waiters, **self.seen.holder.as_dict()}
            if self.members:
                known["members"] = [dict(member) for member in self.members]
        if self.waiting is not None:
            known["waiting_to_begin"] = self.waiting.metadata["id"]
        return known

    def _values(self) -> dict[str, str]:
        """Return label and value of all that is known of the holder; its metadata first."""
        if self.seen is None:
            return {}
        holder = self.seen.holder
        return {
            **holder.metadata,
            "since": holder.since.isoformat(timespec="seconds") if holder.since else "-",
            "lease left": "for ever" if holder.lease_left is None else f"{holder.lease_left:.1f} s",
            "fencing token": str(holder.fencing_token or "-"),
            "waiters": str(self.seen.waiters),
        }


def _member_line(metadata: Mapping[str, Any]) -> str:
    """Return whether a member of a batch waits, or where it runs."""
    place = f" on {metadata['host']}, pid {metadata['pid']}" if metadata["state"] == "runs" else ""
    return f"  in flight      {metadata['task']}[{metadata.get('id', '-')}] {metadata['state']}{place}"
