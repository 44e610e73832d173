"""Tasks that share a lock, and wrong ones: too many run at once, or a writer beside others."""

from __future__ import annotations

from typing import Any

from .tasks_app import retried

#: How many may run at once.
LIMIT = 2


def place(key: str, *_: Any) -> str:
    """Return the name of the lock of "a, as a reader", say."""
    return f"shared:{key.partition(',')[0]}"


limited = retried("limited", lock_key=place, lock_limit=LIMIT)
reader = retried("reader", lock_key=place, lock_shared=True)
writer = retried("writer", lock_key=place)

#: Forgets the limit.
limited_by_nobody = retried("limited_by_nobody", lock_key=place, lock_shared=True)
#: Is a reader.
writes_as_a_reader = retried("writes_as_a_reader", lock_key=place, lock_shared=True)
