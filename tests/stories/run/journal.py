"""Journal: what bodies of tasks report from other processes, and the gates at which they wait."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import redis

from ...support.deadlines import eventually

#: Seconds that a body waits at a gate: longer than any test.
_PATIENCE = 30

#: Seconds that a test waits for a report.
PATIENCE_FOR_REPORTS = 20.0

_ENTRIES = "journal"


class Journal:
    """A list in a database that no lock is kept in."""

    def __init__(self, url: str) -> None:
        # A body may wait at its gate for longer than redis-py waits for a reply.
        self.client = redis.Redis.from_url(url, decode_responses=True, socket_timeout=_PATIENCE + 5)

    def write(self, event: str, **facts: Any) -> None:
        """Report something; the process is told with it."""
        entry = {"event": event, "pid": os.getpid(), "at": time.monotonic(), **facts}
        self.client.rpush(_ENTRIES, json.dumps(entry))

    @contextmanager
    def visit(self, place: str) -> Iterator[None]:
        """Report that a body was somewhere, from when to when."""
        came = time.monotonic()
        yield
        self.write("visit", place=place, came=came, left=time.monotonic())

    def entries(self, event: str, **facts: Any) -> list[Mapping[str, Any]]:
        """List what was reported about an event, first to last, where all of `facts` hold."""
        entries = map(json.loads, self.client.lrange(_ENTRIES, 0, -1))
        wanted = {"event": event, **facts}
        return [entry for entry in entries if wanted.items() <= entry.items()]

    def wait_for(
        self, event: str, times: int = 1, within: float | None = None, **facts: Any
    ) -> Mapping[str, Any]:
        """Return the latest report of an event once there are as many."""

        def reports() -> list[Mapping[str, Any]]:
            found = self.entries(event, **facts)
            return found if len(found) >= times else []

        within = within or PATIENCE_FOR_REPORTS
        return eventually(reports, within, f"{event!r} {facts} should be reported {times} times")[-1]

    def open(self, gate: str, times: int = 1) -> None:
        """Let as many bodies pass a gate, now or later."""
        self.client.rpush(f"gate:{gate}", *["open"] * times)

    def pass_gate(self, gate: str) -> None:
        """Wait until a gate is opened for us."""
        if self.client.blpop([f"gate:{gate}"], timeout=_PATIENCE) is None:
            raise RuntimeError(f"gate {gate} stayed closed")

    def overlaps(self) -> int:
        """Count the visits that began before an earlier one of the same place had ended."""
        places = defaultdict(list)
        for visit in self.entries("visit"):
            places[visit["place"]].append((visit["came"], visit["left"]))
        return sum(_overlaps(sorted(visits)) for visits in places.values())


def _overlaps(visits: list[tuple[float, float]]) -> int:
    count, busy_until = 0, 0.0
    for came, left in visits:
        count += came < busy_until
        busy_until = max(busy_until, left)
    return count
