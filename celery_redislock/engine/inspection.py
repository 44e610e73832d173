"""Inspection: what Redis knows of the locks of others, and giving back what a dead process held."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from .lease.lease import now
from .lease.shared_verbs import SharedVerbs
from .lease.verbs import LockVerbs
from .protocol import exclusive
from .protocol.exclusive import INSPECT, Inspection, Released
from .protocol.keys import COMPANION, GROUP_MARK, keys_of, lock_beside
from .protocol.script import Script
from .protocol.shared import Words
from .transport.clients import Client, store_of
from .transport.redis_errors import translated
from .transport.store import ATTEMPT_S, CALL_S, Store

#: Keys that the server looks at in one step of a scan, and locks that are asked for in one pipeline.
BATCH = 500


def inspect(store: Store, lock_name: str) -> Inspection | None:
    """Look at one lock; None when it is free.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """
    with translated(lock_name, INSPECT.name):
        return exclusive.inspected(lock_name, store.run(*exclusive.inspect(keys_of(lock_name))))


def inspect_all(client: Client, prefix: str) -> Iterator[Inspection]:
    """Look at all held locks whose names begin with the prefix, some at a time; no server is held up.

    Locks taken or released meanwhile may be missing, as with any scan, and a lock that moves to another
    node of a cluster meanwhile may come twice.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """
    store = store_of(client)
    connection = store.connection(ATTEMPT_S)
    try:
        with translated(prefix + "*", "scan"):
            masters = store.masters()
        for master in masters:
            for names in _scanned(master, prefix):
                commands = [Script.command(*exclusive.inspect(keys_of(name))) for name in names]
                with translated(prefix + "*", INSPECT.name):
                    replies = connection.exchange([("SCRIPT", "LOAD", INSPECT.source), *commands], CALL_S)[1:]
                for name, reply in zip(names, replies, strict=True):
                    # A key of another type under the prefix is no lock.
                    seen = None if isinstance(reply, Exception) else exclusive.inspected(name, reply)
                    if seen is not None:
                        yield seen
    finally:
        connection.close()


def names_beside(client: Client, prefix: str, word: str) -> Iterator[str]:
    """Go over the names that begin with the prefix and beside which a certain companion is kept.

    Args:
        client: A synchronous redis-py client.
        prefix: Of the names.
        word: Which companion: a field of `LockKeys`.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """
    with translated(prefix + "*", "scan"):
        masters = store_of(client).masters()
    for master in masters:
        for keys in _scan(master, prefix, COMPANION.decode() + word + "*"):
            names = (lock_beside(key, word).decode(errors="replace") for key in keys)
            yield from (name for name in names if name.startswith(prefix))


def server_time(store: Store, lock_name: str) -> datetime:
    """Return what the clock of the Redis server says: it tells since when a lock is held.

    Args:
        store: Where it is asked.
        lock_name: What the time is wanted for, for the message of an error.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """
    with translated(lock_name, "time"):
        seconds, microseconds = store.call(("TIME",))
    return datetime.fromtimestamp(int(seconds) + int(microseconds) / 1e6, timezone.utc)


def release_orphan(client: Client, lock_name: str, token: str, min_hold_ms: int) -> bool:
    """Release a lock for its dead holder, or leave the queue for a dead waiter.

    Only for a process that has surely ended: nobody tells it.

    Args:
        client: A synchronous redis-py client.
        lock_name: The Redis key.
        token: What the dead process held, or waited, with.
        min_hold_ms: As the holder had it.

    Returns:
        True when the lock was held with this token, alone or together with others.

    Raises:
        StoreUnavailable: Redis could not be reached; the lock ends with its lease.
    """
    verbs = LockVerbs(store_of(client), lock_name)
    # Most processes end with nothing held: ask before releasing.
    until = now() + CALL_S
    owner = verbs.owner()
    if owner == GROUP_MARK:
        # Who only waits to share it leaves the line by this, too.
        verbs = SharedVerbs(verbs.store, lock_name, 0, Words(None))
    if owner in (GROUP_MARK, token.encode()):
        answer = verbs.release(token, min_hold_ms, done="", within=until - now())
        return isinstance(answer, Released)
    verbs.leave(token, within=until - now())
    return False


def _scanned(master: Store, prefix: str) -> Iterator[Sequence[str]]:
    """Go over the keys of one server that may be locks, some at a time."""
    for keys in _scan(master, prefix, _pattern(prefix)):
        yield [key.decode(errors="replace") for key in keys if not key.startswith(COMPANION)]


def _scan(master: Store, prefix: str, pattern: str) -> Iterator[Sequence[bytes]]:
    cursor: Any = 0
    while True:
        with translated(prefix + "*", "scan"):
            cursor, keys = master.call(("SCAN", cursor, "MATCH", pattern, "COUNT", BATCH))
        yield keys
        if int(cursor) == 0:
            return


def _pattern(prefix: str) -> str:
    return re.sub(r"([*?\[\]\\^-])", r"\\\1", prefix) + "*"
