"""Wrapped: a scheduler that can be held up between the claim of a tick and its publication."""

from __future__ import annotations

import os
import time
from typing import Any

import redis
from celery.beat import PersistentScheduler

#: The entry that is held up, once in a test.
HELD_UP = "every two"
#: Set when it is, and when it may go on.
REACHED, GATE = "reached", "gate"


class Halting(PersistentScheduler):
    """Stands still with a tick in its hands, as a process does that is suspended."""

    def reserve(self, entry: Any) -> Any:
        """Wait at the gate: the tick is claimed, and sent next."""
        with redis.Redis.from_url(os.environ["BEAT_LOCKS"]) as client:
            if entry.name == HELD_UP and client.set(REACHED, os.getpid(), nx=True):
                while not client.exists(GATE):
                    time.sleep(0.05)
        return super().reserve(entry)
