"""Journal: what bodies of tasks report from other processes, and the gates at which they wait."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import redis

from ...support.deadlines import eventually

#: Seconds that a body waits at a gate: longer than any test.
_PATIENCE = 60

_ENTRIES = "journal"


class Journal:
    """Lists in a database that no lock is kept in. Its clock is the machine's, the same in all processes."""

    def __init__(self, store: str) -> None:
        # A body may wait at its gate for longer than redis-py waits for a reply.
        self.client = redis.Redis.from_url(f"{store}/3", decode_responses=True, socket_timeout=_PATIENCE + 5)

    def write(self, event: str, *, key: str, **facts: Any) -> None:
        """Report what happened under a key."""
        entry = {"event": event, "key": key, "pid": os.getpid(), "at": time.monotonic(), **facts}
        self.client.rpush(f"{_ENTRIES}:{key}", json.dumps(entry))

    def beat(self, run: str) -> None:
        """Report that a body is alive."""
        self.client.set(f"beat:{run}", time.monotonic())

    def entries(self, key: str, event: str = "", **facts: Any) -> list[Mapping[str, Any]]:
        """List what was reported under a key, first to last, where all of `facts` hold."""
        entries = map(json.loads, self.client.lrange(f"{_ENTRIES}:{key}", 0, -1))
        wanted = {**({"event": event} if event else {}), **facts}
        return [entry for entry in entries if wanted.items() <= entry.items()]

    def wait_for(
        self, key: str, event: str, times: int = 1, within: float = 20.0, **facts: Any
    ) -> Mapping[str, Any]:
        """Return the latest report of an event once there are as many."""

        def reports() -> list[Mapping[str, Any]]:
            found = self.entries(key, event, **facts)
            return found if len(found) >= times else []

        return eventually(reports, within, f"{event!r} {facts} should be reported {times} times")[-1]

    def open(self, gate: str) -> None:
        """Let one body pass a gate, now or later."""
        self.client.rpush(f"gate:{gate}", "open")

    def pass_gate(self, gate: str) -> None:
        """Wait until a gate is opened for us."""
        if self.client.blpop([f"gate:{gate}"], timeout=_PATIENCE) is None:
            raise RuntimeError(f"gate {gate} stayed closed")

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
        count, busy_until = 0, 0.0
        for began, ended in self.stretches(key):
            count += began < busy_until
            busy_until = max(busy_until, ended)
        return count
