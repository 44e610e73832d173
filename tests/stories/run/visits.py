"""Visits: a journal in which bodies report where they were, from when to when."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...support.journal import Entry, Journal, overlaps

_ENTRIES = "journal"


class VisitsJournal(Journal):
    """One list for all bodies."""

    def write(self, event: str, **facts: Any) -> None:
        """Report something."""
        self._append(_ENTRIES, {"event": event, **facts})

    @contextmanager
    def visit(self, place: str) -> Iterator[None]:
        """Report that a body was somewhere, from when to when."""
        came = time.monotonic()
        yield
        self.write("visit", place=place, came=came, left=time.monotonic())

    def entries(self, event: str, **facts: Any) -> list[Entry]:
        """List what was reported about an event, first to last, where all of `facts` hold."""
        return self._read(_ENTRIES, {"event": event, **facts})

    def wait_for(self, event: str, times: int = 1, within: float | None = None, **facts: Any) -> Entry:
        """Return the latest report of an event once there are as many."""
        return self._latest(lambda: self.entries(event, **facts), times, within, f"{event!r} {facts}")

    def overlaps(self) -> int:
        """Count the visits that began before an earlier one of the same place had ended."""
        places = defaultdict(list)
        for visit in self.entries("visit"):
            places[visit["place"]].append((visit["came"], visit["left"]))
        return sum(map(overlaps, places.values()))
