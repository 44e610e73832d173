"""Use 10: an API that takes three calls at once, and thirty in any minute, from all workers together.

Each call needs two places. The first is one of three, and is given back when the call ends. The second is one
of thirty, and counts for a minute after the call began, whatever becomes of it. A call that gets only one of
the two gives that back, and comes again later. ``self.lock.slots`` says which of three connections to use.
"""

from __future__ import annotations

import os
import time
from typing import Any

from celery_redislock import LockKey, locked_task

from . import pace

AT_ONCE = 3
CALLS = int(os.environ.get("EXAMPLE_API_CALLS", "30"))
WINDOW_S = float(os.environ.get("EXAMPLE_API_WINDOW", "60"))


@locked_task(
    bind=True,
    lock_key=[
        LockKey("geocoder", limit=AT_ONCE),
        LockKey("geocoder: calls", limit=CALLS, min_hold=WINDOW_S),
    ],
    lock_on_conflict="retry",
    lock_retry_delay=(0.1, 2),
)
def find(self: Any, address: str) -> dict[str, Any]:
    """Ask the API for an address; return which connection was used, from when to when."""
    # Without a lock (``lock_mode="off"``) nobody says which connection is free.
    connection = next(iter(self.lock.slots.values()), 0)
    began = time.time()
    pace.slow_part(0.2)
    return {"address": address, "connection": connection, "began": began, "ended": time.time()}
