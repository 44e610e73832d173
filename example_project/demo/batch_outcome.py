"""What the phase of the batches came to, computed from its events, and whether that is good."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..events import Event
from .outcome import Run, most_at_once


@dataclass(frozen=True)
class Tick:
    """One message of a beat.

    Attributes:
        at: Seconds since the phase's first tick.
        beat: Who sent it.
        due: What it was sent for: an entry's due time.
    """

    at: float
    beat: str
    due: str


@dataclass(frozen=True)
class BatchOutcome:
    """The phase; all times in seconds since its first tick.

    Attributes:
        title: What the phase is called.
        ticks: All messages of the beats.
        killed_at: When the leading beat was killed.
        batches: The members that ran, batch by batch.
        skips: When a batch was turned away by the lock of another.
        changes: When something changed.
        resyncs: The runs that copied, by start.
        last_change_copied: Whether the last of them copied what the last change left.
        rows_in_file: What should be in the database.
        rows_in_database: What is.
        seconds: From the first tick to the last event.
    """

    title: str
    ticks: tuple[Tick, ...]
    killed_at: float
    batches: tuple[tuple[Run, ...], ...]
    skips: tuple[float, ...]
    changes: tuple[float, ...]
    resyncs: tuple[Run, ...]
    last_change_copied: bool
    rows_in_file: int
    rows_in_database: int
    seconds: float

    @property
    def sent_twice(self) -> int:
        """How many due times more than one message was sent for."""
        return sum(count > 1 for count in Counter(tick.due for tick in self.ticks).values())

    @property
    def batches_at_once(self) -> int:
        """The largest number of batches of which members ran at the same time."""
        spans = [(min(run.start for run in batch), max(run.end for run in batch)) for batch in self.batches]
        return most_at_once(spans)


def batch_outcome_of(
    title: str, events: Sequence[Event], rows_in_file: int, rows_in_database: int
) -> BatchOutcome:
    """Compute the outcome from all events of the phase."""
    ticked = [event for event in events if event.kind == "ticked"]
    zero = min((event.at for event in ticked), default=0.0)
    last = max((event.at for event in events), default=zero)
    runs = {event.run: _run(event, events, zero, last) for event in events if event.kind == "started"}
    started = [event for event in events if event.kind == "started"]
    groups = list(dict.fromkeys(event.group for event in started if event.group))
    changed = [event for event in events if event.kind == "changed"]
    copies = [event for event in started if event.name.startswith("resync ")]
    versions = [_number(event) for event in changed], [_number(event) for event in copies]
    return BatchOutcome(
        title=title,
        ticks=tuple(Tick(event.at - zero, event.name, event.group) for event in ticked),
        killed_at=next((event.at - zero for event in events if event.kind == "killed"), 0.0),
        batches=tuple(
            tuple(runs[event.run] for event in started if event.group == group) for group in groups
        ),
        skips=tuple(event.at - zero for event in events if event.kind == "skipped"),
        changes=tuple(event.at - zero for event in changed),
        resyncs=tuple(runs[event.run] for event in copies),
        last_change_copied=max(versions[0], default=0) == max(versions[1], default=-1),
        rows_in_file=rows_in_file,
        rows_in_database=rows_in_database,
        seconds=last - zero,
    )


def batch_problems(outcome: BatchOutcome) -> list[str]:
    """Say in whole sentences what is wrong; nothing when all is as promised."""
    beats = {tick.beat for tick in outcome.ticks}
    members = [run for batch in outcome.batches for run in batch]
    resyncs_at_once = most_at_once((run.start, run.end) for run in outcome.resyncs)
    rows = f"{outcome.rows_in_database:,} rows in the database; the file has {outcome.rows_in_file:,}"
    checks = {
        "No second beat went on after the first was killed.": len(beats) < 2 or not outcome.killed_at,
        f"{outcome.sent_twice} due times were sent twice.": outcome.sent_twice > 0,
        "Fewer than two batches ran.": len(outcome.batches) < 2,
        "Members of two batches ran at once in spite of the lock.": outcome.batches_at_once > 1,
        "A member of a batch failed.": not all(run.succeeded for run in members),
        f"The batches left {rows}.": outcome.rows_in_database != outcome.rows_in_file,
        "Two resyncs ran at once in spite of the lock.": resyncs_at_once > 1,
        "The last change was not copied.": not outcome.last_change_copied,
    }
    return [problem for problem, is_there in checks.items() if is_there]


def _number(event: Event) -> int:
    return int(event.name.rpartition(" ")[2])


def _run(start: Event, events: Sequence[Event], zero: float, last: float) -> Run:
    ends = [event for event in events if event.run == start.run and event.kind in {"finished", "failed"}]
    return Run(
        start=start.at - zero,
        end=(ends[0].at if ends else last) - zero,
        rows=0,
        succeeded=any(end.kind == "finished" for end in ends),
    )
