"""Journal: what bodies of tasks report from other processes, and the gates at which they wait.

Its clock is the machine's, the same in all processes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import redis

from .deadlines import eventually

#: Seconds that a body waits at a gate: longer than any test.
_AT_A_GATE_S = 60

Entry = Mapping[str, Any]


class Journal:
    """Lists in a database that no lock is kept in.

    Attributes:
        patience_s: How long a test waits for a report, seconds.
    """

    def __init__(self, store: str) -> None:
        # A body may wait at its gate for longer than redis-py waits for a reply.
        self.client = redis.Redis.from_url(
            f"{store}/3", decode_responses=True, socket_timeout=_AT_A_GATE_S + 5
        )
        self.patience_s = 20.0

    def open(self, gate: str, times: int = 1) -> None:
        """Let as many bodies pass a gate, now or later."""
        self.client.rpush(f"gate:{gate}", *["open"] * times)

    def pass_gate(self, gate: str) -> None:
        """Wait until a gate is opened for us."""
        if self.client.blpop([f"gate:{gate}"], timeout=_AT_A_GATE_S) is None:
            raise RuntimeError(f"gate {gate} stayed closed")

    def _append(self, where: str, facts: Mapping[str, Any]) -> None:
        """Report something; the process and the moment are told with it."""
        self.client.rpush(where, json.dumps({"pid": os.getpid(), "at": time.monotonic(), **facts}))

    def _read(self, where: str, facts: Mapping[str, Any]) -> list[Entry]:
        """List what was reported there, first to last, where all of `facts` hold."""
        entries = map(json.loads, self.client.lrange(where, 0, -1))
        return [entry for entry in entries if facts.items() <= entry.items()]

    def _latest(self, read: Callable[[], list[Entry]], times: int, within: float | None, what: str) -> Entry:
        """Return the latest report once there are as many."""

        def reports() -> list[Entry]:
            found = read()
            return found if len(found) >= times else []

        message = f"{what} should be reported {times} times"
        return eventually(reports, within or self.patience_s, message)[-1]


def overlaps(stretches: Iterable[tuple[float, float]]) -> int:
    """Count the stretches of time that began before an earlier one had ended."""
    count, busy_until = 0, 0.0
    for began, ended in sorted(stretches):
        count += began < busy_until
        busy_until = max(busy_until, ended)
    return count
