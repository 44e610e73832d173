"""Schedule statistics: what is counted of an entry of the schedule: due times, begins, skips, times (pure).

A beat that is a `LockedScheduler` writes into each message which entry it is of, and which due time. Whatever
becomes of the message is counted for that entry. A retry is no due time of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from ..events import Acquired, Conflicted, Released, Ticked
from ..messages.headers import BEAT_HEADER

__all__ = ["Added", "Tick", "at_begin", "at_end", "of_event", "tick_in"]

#: What is done about a busy lock so that the due time has no run. A merged call ("coalesce", "replace",
#: "superseded") has one, that of another call; a call that comes again ("retry", "put_off") has not yet.
SKIPPING = ("skip", "fail")


class Tick(NamedTuple):
    """Which due time a message is for.

    Attributes:
        entry: Its name.
        due_s: Seconds since 1970.
    """

    entry: str
    due_s: float


class Added(NamedTuple):
    """What is added to the numbers of an entry.

    Attributes:
        entry: Its name.
        kind: "ticks", "begun", "skipped", "interval_s", "wait", "run".
        word: Of a count.
        seconds: Of a length of time; None: it is a count, of one.
    """

    entry: str
    kind: str
    word: str = ""
    seconds: float | None = None


def tick_in(headers: Mapping[str, Any] | None) -> Tick | None:
    """Return which due time a message is for; None: its headers do not say, or not as a beat writes it."""
    found = headers.get(BEAT_HEADER) if headers else None
    if not isinstance(found, Mapping):
        return None
    entry, due = found.get("entry"), found.get("due")
    if not isinstance(entry, str) or not isinstance(due, str):
        return None
    try:
        return Tick(entry, datetime.fromisoformat(due).timestamp())
    except ValueError:
        return None


def at_begin(request: Any, at_s: float) -> tuple[Added, ...]:
    """Return what the begin of a run adds.

    Args:
        request: Celery's.
        at_s: When, seconds since 1970.
    """
    tick = tick_in(request.headers)
    if tick is None or request.retries:
        return ()
    return Added(tick.entry, "begun"), Added(tick.entry, "wait", seconds=max(0.0, at_s - tick.due_s))


def at_end(request: Any, run_s: float) -> tuple[Added, ...]:
    """Return what the end of a run adds.

    Args:
        request: Celery's.
        run_s: How long it took, seconds.
    """
    tick = tick_in(request.headers)
    return () if tick is None else (Added(tick.entry, "run", seconds=run_s),)


def of_event(event: Any, at_s: float) -> tuple[Added, ...]:
    """Return what an event adds.

    Args:
        event: Of a locked task, or of a beat.
        at_s: When, seconds since 1970.
    """
    kind = type(event)
    if kind is Acquired:
        return at_begin(event.task.request, at_s)
    if kind is Released:
        return at_end(event.task.request, event.held_s)
    if kind is Conflicted:
        return _of_a_conflict(event, at_s)
    if kind is Ticked:
        ticked = Added(event.entry, "ticks", event.result)
        known = (Added(event.entry, "interval_s", seconds=event.interval_s),) if event.interval_s else ()
        return ticked, *known
    return ()


def _of_a_conflict(event: Conflicted, at_s: float) -> tuple[Added, ...]:
    if event.is_shadow:
        # The body runs all the same; a call that was about to be published begins later.
        return at_begin(event.task.request, at_s) if event.is_published else ()
    if event.action not in SKIPPING or _merges(event.conflict):
        return ()
    if not event.is_published:
        tick = tick_in(event.headers)
    else:
        request = event.task.request
        tick = None if request.retries else tick_in(request.headers)
    return (Added(tick.entry, "skipped"),) if tick else ()


def _merges(conflict: Any) -> bool:
    """Whether a call that is not published is merged into one that waits to begin already."""
    return conflict is not None and conflict.options.on_conflict == "coalesce"
