"""The first two phases: two beats ask for imports more often than one import takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from .. import csv_import
from ..events import Event
from .outcome import Outcome, outcome_of
from .phase import BEATS, DONE_WITHIN, Phase, ids
from .processes import Programs

#: Messages that each beat sends, and the seconds between two of them: less than an import takes.
TICKS_OF_A_BEAT = 5
IMPORT_EVERY = 3.0


@dataclass(frozen=True)
class ImportPhase(Phase):
    """Each beat sends a fixed number of ticks."""

    def run(self, rows_in_file: int) -> Outcome:
        """Run the phase to its end and return what it came to."""
        seen = self.play()
        return outcome_of(self.title, seen, rows_in_file, csv_import.rows_in_database(self.database_url))

    def settings(self) -> dict[str, str]:
        """Return what is special here: how often the imports are due."""
        return {"EXAMPLE_IMPORT_EVERY": str(IMPORT_EVERY)}

    def act(self, programs: Programs) -> None:
        """Have the beats send their ticks, and the imports end."""
        for beat in BEATS:
            self.start_beat(programs, beat)
            # Beats on two hosts do not start at the same moment either.
            time.sleep(IMPORT_EVERY / len(BEATS))
        self.wait(programs, _all_sent, DONE_WITHIN, "the beats did not send all ticks")
        for beat in BEATS:
            programs.end(beat)
        self.wait(programs, _all_ended, DONE_WITHIN, "the imports did not end")


def _all_sent(seen: Sequence[Event]) -> bool:
    return len(ids(seen, "published")) >= TICKS_OF_A_BEAT * len(BEATS)


def _all_ended(seen: Sequence[Event]) -> bool:
    return ids(seen, "published") <= ids(seen, "finished", "failed", "skipped")
