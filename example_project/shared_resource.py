"""Use 1: processes share a resource, here a file with a counter that is read, changed, written.

Two runs that read the same number write the same number: one visit is lost. The lock is on
the argument `path`, so two counters never wait for each other. A run that finds the lock busy
comes back a little later: no visit may be skipped.
"""

from __future__ import annotations

from pathlib import Path

from celery_redislock import locked_task

from . import pace


@locked_task(lock_args=["path"], lock_on_conflict="retry", lock_retry_delay=(0.1, 2))
def count_visit(path: str) -> int:
    """Add one to the number in the file and return it."""
    counter = Path(path)
    visits = int(counter.read_text()) if counter.exists() else 0
    pace.slow_part(0.2)
    counter.write_text(str(visits + 1))
    return visits + 1
