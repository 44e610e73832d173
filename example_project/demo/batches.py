"""The third phase: a beat is killed, imports come in twelve parts, and a copy follows changes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from .. import csv_import, events
from ..events import Event
from .batch_outcome import BatchOutcome, batch_outcome_of
from .phase import BEATS, DONE_WITHIN, PROCESSES, Phase, ids
from .processes import Programs

#: Ticks that all beats together send for the import by months, and how many before one is killed.
TICKS = 5
TICKS_BEFORE_THE_KILL = 2
#: Batches that run at least, however slow the machine is.
BATCHES = 2

#: Seconds: between two ticks, between two changes, and until another beat takes over.
IMPORT_EVERY = 4.0
CHANGE_EVERY = 0.5
BEAT_TTL = 2.0

_SCHEDULER = ("--scheduler", "celery_redislock.beat:LockedScheduler")


@dataclass(frozen=True)
class BatchPhase(Phase):
    """Two beats of which one leads, and is killed."""

    def run(self, rows_in_file: int) -> BatchOutcome:
        """Run the phase to its end and return what it came to."""
        seen = self.play()
        rows = csv_import.rows_in_database(self.database_url)
        return batch_outcome_of(self.title, seen, rows_in_file, rows)

    def workers(self) -> dict[str, Sequence[str]]:
        """Return a worker for the months, and one for what is over in a moment."""
        return {
            "worker": [f"--concurrency={PROCESSES}", "--queues=slow"],
            "quick-worker": ["--concurrency=2", "--queues=quick"],
        }

    def settings(self) -> dict[str, str]:
        """Return what is special here: what is due how often."""
        return {
            "EXAMPLE_IMPORT_EVERY": "0",
            "EXAMPLE_MONTHS_EVERY": str(IMPORT_EVERY),
            "EXAMPLE_CHANGE_EVERY": str(CHANGE_EVERY),
            "EXAMPLE_BEAT_TTL": str(BEAT_TTL),
        }

    def act(self, programs: Programs) -> None:
        """Kill the leading beat, have the other one go on, and all work end."""
        for beat in BEATS:
            self.start_beat(programs, beat, *_SCHEDULER)
        self.wait(
            programs, lambda seen: len(starts(seen)) >= TICKS_BEFORE_THE_KILL, DONE_WITHIN, "no beat led"
        )
        leader = starts(events.read(self.events_file))[-1].name
        programs.kill(leader)
        events.append(self.events_file, Event(time.monotonic(), "killed", name=leader))
        self.wait(programs, _all_sent, DONE_WITHIN, "no other beat took over, or no second batch began")
        for beat in set(BEATS) - {leader}:
            programs.end(beat)
        self.wait(programs, _all_ended, DONE_WITHIN, "the batches and resyncs did not end")


def starts(seen: Sequence[Event]) -> list[Event]:
    """Return the ticks that asked for an import by months."""
    changes = ids(seen, "changed")
    asked = ids(seen, "batch", "skipped")
    return [event for event in seen if event.kind == "ticked" and event.run in asked - changes]


def _all_sent(seen: Sequence[Event]) -> bool:
    return len(starts(seen)) >= TICKS and len(ids(seen, "batch")) >= BATCHES


def _all_ended(seen: Sequence[Event]) -> bool:
    ended = ids(seen, "finished", "failed")
    counted = {event.run for event in seen if event.kind == "started" and event.name == "count"}
    changes = [event for event in seen if event.kind == "changed"]
    resyncs = [event for event in seen if event.kind == "started" and event.name.startswith("resync")]
    return (
        ids(seen, "ticked") <= ids(seen, "batch", "skipped", "changed")
        and len(counted & ended) == len(ids(seen, "batch"))
        and ids(resyncs, "started") <= ended
        and resyncs[-1].at > changes[-1].at
    )
