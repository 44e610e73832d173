"""Rendering: what people are shown of a lock: as a row, as a text, or as a JSON object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from sys import intern
from typing import Any

from ..engine import Inspection, Limit, WaiterSeen
from ..holder import Holder
from ..observing.statistics import LastConflict
from . import table
from .formats import about_from_to, duration, printable
from .usual import SELDOM_LEFT, Hold, Usual

_UNKNOWN = "-"

_COLUMNS = (
    table.Column("held"),
    table.Column("usually"),
    table.Column("lease left"),
    table.Column("holders"),
    table.Column("waiters", is_number=True),
    table.Column("task", share=1),
    table.Column("host/pid", share=1),
    table.Column("lock", share=2),
)

#: The column that is left out where each lock has one holder, and what it then has.
_HOLDERS, _ONE = 3, "1"

#: What a mark in a column means.
_HELD_TOO_LONG = f"held{table.MARK}        more than 3 times as long as 99 % of the task's runs: it may hang"
_LEASE_IN_DOUBT = f"lease left{table.MARK}  it was not renewed when it should have been; or it never ends"


@dataclass(frozen=True)
class LockView:
    """What is known of one lock.

    Attributes:
        name: The Redis key.
        seen: Who holds it, or that it is paused, and who waits; None when it is free.
        members: The metadata of each member in flight, when a batch holds it.
        waiting: Who has published a call that has not begun yet (`lock_scope`); None when nobody has.
        now: The time by the clock of the Redis server; None: not known.
        hold: For how long the holder's task usually holds it; None: not known.
        lease_s: The `lock_ttl` of the holder's task, seconds; None: not known.
        conflicts: The last calls that found it busy, the newest first.
        limit: What an operator has set for it; None: nothing.
    """

    name: str
    seen: Inspection | None
    members: Sequence[Mapping[str, Any]] = ()
    waiting: Holder | None = None
    now: datetime | None = None
    hold: Hold | None = None
    lease_s: float | None = None
    conflicts: Sequence[LastConflict] = ()
    limit: Limit | None = None

    @classmethod
    def of(cls, seen: Inspection, usual: Usual | None = None, now: datetime | None = None) -> LockView:
        """Return the view of a lock that is held."""
        if usual is None:
            return cls(seen.name, seen, limit=seen.limit)
        task = seen.holder.metadata.get("task", "")
        hold, lease_s = usual.hold_of(task), usual.lease_s_of(task)
        return cls(seen.name, seen, now=now, hold=hold, lease_s=lease_s, limit=seen.limit)

    @classmethod
    def of_free(cls, limit: Limit) -> LockView:
        """Return the view of a lock that nobody holds."""
        return cls(limit.name, None, limit=limit if limit.is_set else None)

    @property
    def held_s(self) -> float | None:
        """For how long it has been held, or paused, seconds; None: not known."""
        if self.now is None or self.seen is None or self.seen.holder.since is None:
            return None
        return max((self.now - self.seen.holder.since).total_seconds(), 0.0)

    @property
    def is_held_too_long(self) -> bool:
        """Whether something must be wrong with the run that holds it."""
        if self.hold is None or self.held_s is None or self.seen is None or self.seen.is_kept:
            return False
        return self.hold.is_exceeded_by(self.held_s)

    @property
    def is_lease_in_doubt(self) -> bool:
        """Whether the lease never ends, or was not renewed when it should have been."""
        if self.seen is None or self.seen.is_kept or self.seen.is_paused:
            return False
        left_s = self.seen.holder.lease_left
        return left_s is None or (self.lease_s is not None and left_s < SELDOM_LEFT * self.lease_s)

    def text(self) -> str:
        """Return some lines for people: all that is known."""
        name = printable(self.name)
        if self.seen is None:
            lines = [f"{name}: free"]
            if self.limit is not None:
                lines.append(_limit_line(self.limit))
        else:
            lines = [f"{name}: {'paused' if self.seen.is_paused else 'held'}"]
            lines += [f"  {label:<14} {value}" for label, value in self._values().items()]
            if self.limit is not None:
                lines.append(_limit_line(self.limit))
            lines += map(_sharer_line, self.seen.holders if self.seen.is_shared else ())
            lines += map(_member_line, self.members)
            lines += [_waiter_line(*each, self.now) for each in enumerate(self.seen.line, 1)]
        if self.waiting is not None:
            lines.append(f"{name}: published and not begun: {printable(str(self.waiting))}")
        lines += _conflict_lines(self.conflicts)
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return all that is known as JSON types."""
        is_held = self.seen is not None and not self.seen.is_paused
        known: dict[str, Any] = {"name": self.name, "held": is_held}
        if self.seen is not None:
            known |= {"kept": self.seen.is_kept, "waiters": self.seen.waiters, **self.seen.holder.as_dict()}
            if self.seen.is_shared:
                known["holders"] = [holder.as_dict() for holder in self.seen.holders]
                known["places"] = self.seen.places
                known["places_kept"] = self.seen.kept
            known["line"] = [waiter.as_dict() for waiter in self.seen.line]
            if self.members:
                known["members"] = [dict(member) for member in self.members]
        if self.limit is not None:
            known["limit"] = self.limit.as_dict()
        if self.waiting is not None:
            known["waiting_to_begin"] = self.waiting.metadata["id"]
        if self.hold is not None:
            known["typical_hold"] = self.hold.as_dict()
        if self.conflicts:
            known["last_conflicts"] = [
                {**each._asdict(), "when": each.when.isoformat()} for each in self.conflicts
            ]
        return known

    def _values(self) -> dict[str, str]:
        """Return label and value of all that is known of the holder; its metadata first."""
        if self.seen is None:
            return {}
        if self.seen.is_paused:
            since = self.seen.holder.since
            known = {} if since is None else {"since": since.isoformat(timespec="seconds")}
            return {**known, "waiters": str(self.seen.waiters)}
        holder = self.seen.holder
        values = {printable(label): printable(value) for label, value in holder.metadata.items()}
        values["since"] = holder.since.isoformat(timespec="seconds") if holder.since else _UNKNOWN
        if self.held_s is not None:
            doubt = ": much longer than usual, it may hang" if self.is_held_too_long else ""
            values["held for"] = duration(self.held_s) + doubt
        if self.hold is not None:
            values["usually"] = (
                f"{duration(self.hold.p50_s)}; 95 % of the runs at most {duration(self.hold.p95_s)}, "
                f"99 % at most {duration(self.hold.p99_s)}"
            )
        values["lease left"] = "for ever" if holder.lease_left is None else f"{holder.lease_left:.1f} s"
        if self.seen.is_kept:
            values["kept"] = "its run has ended; lock_min_hold keeps it busy"
        values["fencing token"] = str(holder.fencing_token or _UNKNOWN)
        if self.seen.is_shared:
            values["holders"] = _holders(self.seen)
            values["slots used"] = _slots(self.seen.holders)
            values["kept places"] = str(self.seen.kept)
        values["waiters"] = str(self.seen.waiters)
        return values


def table_of(views: Iterable[LockView], prefix: str, width: int | None) -> Iterator[str]:
    """Return a table of held locks as lines: what may be in trouble first, then the longest held.

    Args:
        views: The locks; those that are free have no row.
        prefix: What the names of all of them begin with; it is left out where the width would cut the names.
        width: Of the terminal, in columns of text; None: there is none, and nothing is cut.
    """
    # Little is kept of each: there may be a hundred thousand.
    rows: list[tuple[Any, ...]] = [_row(view, view.seen) for view in views if view.seen is not None]
    rows.sort()
    is_cut = width is not None and bool(prefix)
    for place, (_, _, name, *cells) in enumerate(rows):
        rows[place] = (*cells, _without(prefix, name) if is_cut else name)
    last = table.Column(f"lock ({prefix}...)", share=2) if is_cut else _COLUMNS[-1]
    columns: Sequence[table.Column] = (*_COLUMNS[:-1], last)
    if all(row[_HOLDERS] == _ONE for row in rows):
        columns, rows = _without_holders(columns), list(map(_without_holders, rows))
    yield from table.lines(columns, rows, width)
    if any(row[0].endswith(table.MARK) for row in rows):
        yield _HELD_TOO_LONG
    if any(row[2].endswith(table.MARK) for row in rows):
        yield _LEASE_IN_DOUBT


def _without(prefix: str, name: str) -> str:
    """Return a name without its prefix, unless it would be taken for another one."""
    rest = name.removeprefix(prefix)
    return name if rest.startswith(prefix) else rest


def _without_holders(row: Sequence[Any]) -> tuple[Any, ...]:
    return (*row[:_HOLDERS], *row[_HOLDERS + 1 :])


def _holders(seen: Inspection) -> str:
    """Return how many hold a lock, and of how many: ``3 of 10``; ``paused`` where nobody does."""
    if seen.is_paused:
        return "paused"
    if not seen.is_shared:
        return _ONE
    count = len(seen.holders) + seen.kept if not seen.is_kept else seen.kept
    return str(count) if seen.places is None else f"{count} of {seen.places}"


def _slots(holders: Iterable[Holder]) -> str:
    numbers = sorted(holder.slot for holder in holders if holder.slot is not None)
    return ", ".join(map(str, numbers)) or _UNKNOWN


def _limit_line(limit: Limit) -> str:
    """Return what an operator has set."""
    return f"  limit          {printable(str(limit))}"


def _row(view: LockView, seen: Inspection) -> tuple[Any, ...]:
    """Return by what a lock is sorted: trouble, hold, name; and its cells but for the name."""
    left_s, held_s = seen.holder.lease_left, view.held_s
    metadata = seen.holder.metadata
    place = "/".join(metadata[each] for each in ("host", "pid") if each in metadata)
    trouble = 0 if view.is_lease_in_doubt else 1 if view.is_held_too_long else 3 if seen.is_kept else 2
    return (
        trouble,
        -(held_s or 0.0),
        printable(view.name),
        _cell(None if held_s is None else duration(held_s), is_marked=view.is_held_too_long),
        _typical(view.hold),
        _cell(_lease_left(left_s, is_kept=seen.is_kept), is_marked=view.is_lease_in_doubt),
        intern(_holders(seen)),
        str(seen.waiters),
        intern(printable(metadata.get("task", _UNKNOWN))),
        intern(printable(place or _UNKNOWN)),
    )


def _cell(text: str | None, *, is_marked: bool) -> str:
    return intern((text or _UNKNOWN) + (table.MARK if is_marked else ""))


def _lease_left(left_s: float | None, *, is_kept: bool) -> str:
    text = "for ever" if left_s is None else duration(left_s)
    return f"kept {text}" if is_kept else text


def _typical(hold: Hold | None) -> str:
    if hold is None:
        return _UNKNOWN
    return intern(about_from_to(hold.p50_s, hold.p95_s))


def _sharer_line(holder: Holder) -> str:
    """Return one of those who share the lock."""
    return f"  holder         {printable(str(holder))}"


def _member_line(metadata: Mapping[str, Any]) -> str:
    """Return whether a member of a batch waits, or where it runs."""
    place = f" on {metadata['host']}, pid {metadata['pid']}" if metadata["state"] == "runs" else ""
    member = f"{metadata['task']}[{metadata.get('id', _UNKNOWN)}] {metadata['state']}{place}"
    return f"  in flight      {printable(member)}"


def _waiter_line(place: int, waiter: WaiterSeen, now: datetime | None) -> str:
    """Return who stands in line, at which place, and for how long."""
    facts = dict(waiter.metadata)
    task, host = facts.get("task"), facts.get("host", _UNKNOWN)
    who = (
        f"{task}[{facts.get('id', _UNKNOWN)}] on {host}" if task else ", ".join(map(" ".join, facts.items()))
    )
    long = "" if now is None else f", for {duration((now - waiter.since).total_seconds())}"
    return f"  {f'waits {place}.':<14} {printable(who or 'an unknown waiter')}{long}"


def _conflict_lines(conflicts: Iterable[LastConflict]) -> Iterator[str]:
    """Return what became of each call that found the lock busy, and who had it: that once for each holder."""
    before = ""
    for met in conflicts:
        text = f"{met.when.isoformat(timespec='seconds')} task {met.task_id}: {met.action}"
        yield f"  last conflict  {printable(text)}"
        if met.holder_id and met.holder_id != before:
            yield f"    held by      {printable(f'task {met.holder_id} on {met.host or _UNKNOWN}')}"
        before = met.holder_id
