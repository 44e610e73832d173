"""Orphan: gives back what a process that is dead held, or its place in line."""

from __future__ import annotations

from .lease.lease import now
from .lease.verbs import LockVerbs
from .transport.clients import Client, store_of
from .transport.store import CALL_S


def release_orphan(client: Client, lock_name: str, token: str, min_hold_ms: int) -> bool:
    """Release a lock for its dead holder, or leave the queue for a dead waiter.

    Only for a process that has surely ended: nobody tells it.

    Args:
        client: A synchronous redis-py client.
        lock_name: The Redis key.
        token: What the dead process held, or waited, with.
        min_hold_ms: As the holder had it.

    Returns:
        True when the lock was held with this token.

    Raises:
        StoreUnavailable: Redis could not be reached; the lock ends with its lease.
    """
    verbs = LockVerbs(store_of(client), lock_name)
    # Most children die of old age, with everything given back: a release would only say that it was.
    until = now() + CALL_S
    if verbs.is_held_with(token):
        return verbs.release(token, min_hold_ms, done="", within=until - now()) is not None
    verbs.leave(token, within=until - now())
    return False
