"""What a phase of the demo came to, computed from its events, and whether that is good."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..events import Event

#: Rows of ``flights.csv.zip``; any other number means that the file is not the one we know.
FLIGHTS = 336_776


@dataclass(frozen=True)
class Run:
    """One body that ran.

    Attributes:
        start: Seconds since the phase's first tick.
        end: The same.
        rows: Rows that it wrote.
        succeeded: Whether it came to its end without an error.
    """

    start: float
    end: float
    rows: int
    succeeded: bool


@dataclass(frozen=True)
class Outcome:
    """One phase.

    Attributes:
        title: What the phase is called.
        ticks: When the beats sent a message, in seconds since the first.
        skips: When a message was turned away by the lock.
        runs: The bodies, by start.
        rows_in_file: What should be in the database.
        rows_in_database: What is.
        seconds: From the first tick to the last event.
    """

    title: str
    ticks: tuple[float, ...]
    skips: tuple[float, ...]
    runs: tuple[Run, ...]
    rows_in_file: int
    rows_in_database: int
    seconds: float

    @property
    def most_at_once(self) -> int:
        """The largest number of bodies that ran at the same time."""
        return most_at_once((run.start, run.end) for run in self.runs)


def outcome_of(title: str, events: Sequence[Event], rows_in_file: int, rows_in_database: int) -> Outcome:
    """Compute a phase's outcome from all its events."""
    published = [event.at for event in events if event.kind == "published"]
    zero = min(published, default=0.0)
    last = max((event.at for event in events), default=zero)
    return Outcome(
        title=title,
        ticks=tuple(at - zero for at in published),
        skips=tuple(event.at - zero for event in events if event.kind == "skipped"),
        runs=_runs(events, zero, last),
        rows_in_file=rows_in_file,
        rows_in_database=rows_in_database,
        seconds=last - zero,
    )


def most_at_once(intervals: Iterable[tuple[float, float]]) -> int:
    """Return how many of the intervals overlap at the fullest moment; touching is no overlap."""
    # At the same moment an end (-1) sorts before a start (+1).
    changes = sorted(change for start, end in intervals for change in ((start, 1), (end, -1)))
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most


def problems(unlocked: Outcome, locked: Outcome) -> list[str]:
    """Say in whole sentences why the demo failed; nothing when it showed what it should."""
    found = []
    if not locked.runs:
        found.append("No import ran in the locked phase.")
    if locked.most_at_once > 1:
        found.append(f"{locked.most_at_once} imports ran at once in spite of the lock.")
    if not all(run.succeeded for run in locked.runs):
        found.append("An import failed in the locked phase.")
    if locked.rows_in_database != locked.rows_in_file:
        found.append(
            f"The locked phase left {locked.rows_in_database:,} rows in the database; "
            f"the file has {locked.rows_in_file:,}."
        )
    if unlocked.most_at_once < 2:
        found.append("No imports overlapped in the unlocked phase, so nothing was compared.")
    return found


def _runs(events: Sequence[Event], zero: float, last: float) -> tuple[Run, ...]:
    started = [event for event in events if event.kind == "started"]
    return tuple(_run(start, events, zero, last) for start in started)


def _run(start: Event, events: Sequence[Event], zero: float, last: float) -> Run:
    own = [event for event in events if event.run == start.run]
    ends = [event for event in own if event.kind in {"finished", "failed"}]
    return Run(
        start=start.at - zero,
        end=(ends[0].at if ends else last) - zero,
        rows=max(event.rows for event in own),
        succeeded=any(end.kind == "finished" for end in ends),
    )
