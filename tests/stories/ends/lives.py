"""Lives: a journal of when each body began, that it is alive, and how it ended, under its key."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

from ...support.journal import Entry, Journal, overlaps


class LivesJournal(Journal):
    """A list for each key."""

    def write(self, event: str, *, key: str, **facts: Any) -> None:
        """Report what happened under a key."""
        self._append(f"journal:{key}", {"event": event, "key": key, **facts})

    def beat(self, run: str) -> None:
        """Report that a body is alive."""
        self.client.set(f"beat:{run}", time.monotonic())

    def entries(self, key: str, event: str = "", **facts: Any) -> list[Entry]:
        """List what was reported under a key, first to last, where all of `facts` hold."""
        return self._read(f"journal:{key}", {**({"event": event} if event else {}), **facts})

    def wait_for(
        self, key: str, event: str, times: int = 1, within: float | None = None, **facts: Any
    ) -> Entry:
        """Return the latest report of an event once there are as many."""
        return self._latest(lambda: self.entries(key, event, **facts), times, within, f"{event!r} {facts}")

    def last_sign(self, run: str) -> float:
        """Return when a body showed for the last time that it was alive; 0.0 if it never did."""
        return float(self.client.get(f"beat:{run}") or 0.0)

    def stretches(self, key: str) -> list[tuple[float, float]]:
        """List from when to when each body under a key worked under its lock, in the order of their begin."""
        signs: dict[str, list[float]] = defaultdict(list)
        handed_over = set()
        for entry in self.entries(key):
            run = entry.get("run")
            if run is None or run in handed_over:
                continue
            signs[run].append(entry["at"])
            if entry["event"] == "hands over":
                handed_over.add(run)
        return sorted((min(at), max([*at, self.last_sign(run)])) for run, at in signs.items())

    def overlaps(self, key: str) -> int:
        """Count the bodies that began before an earlier one under the same key had ended."""
        return overlaps(self.stretches(key))
