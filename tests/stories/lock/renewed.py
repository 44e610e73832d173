"""Renewed: whether a lock is kept by its renewals."""

from __future__ import annotations

import time

from celery_redislock import RedisLock

from ...support.deadlines import eventually


def is_renewed(lock: RedisLock) -> None:
    """Compare a lock with itself after more than its lease."""
    lease_ends_at = time.monotonic() + lock.remaining
    eventually(lambda: time.monotonic() > lease_ends_at + 0.05)
    lock.ensure_held()
    assert lock.owned()
