"""Inspection: what Redis knows of a lock, or of all the locks under a prefix."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..holder import Holder
from .protocol import holder_record as holders
from .protocol.exclusive import INSPECT
from .protocol.keys import COMPANION, keys_of
from .transport.clients import Client, store_of
from .transport.outages import translated
from .transport.store import ATTEMPT_S, CALL_S, Store

#: Keys that the server looks at in one step of a scan, and locks that are asked for in one pipeline.
BATCH = 500

#: What the script says in place of the lease left when the lock is free: PTTL's word for no such key.
_FREE = -2


@dataclass(frozen=True)
class Inspection:
    """A snapshot of a lock that is held.

    Attributes:
        name: The Redis key.
        holder: Who has it.
        waiters: How many wait for it.
        is_kept: It was released, and is only kept busy for its min_hold.
    """

    name: str
    holder: Holder
    waiters: int
    is_kept: bool


def inspect(store: Store, lock_name: str) -> Inspection | None:
    """Look at one lock; None when it is free.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """
    with translated(lock_name):
        return _read(lock_name, INSPECT.run(store, keys_of(lock_name).inspected))


def inspect_all(client: Client, prefix: str) -> Iterator[Inspection]:
    """Look at all held locks whose names begin with the prefix, some at a time; no server is held up.

    Locks taken or released meanwhile may be missing, as with any scan, and a lock that moves to another
    node of a cluster meanwhile may come twice.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """
    store = store_of(client)
    line = store.line(ATTEMPT_S)
    try:
        with translated(prefix + "*"):
            masters = store.masters()
        for master in masters:
            for names in _scanned(master, prefix):
                commands = [INSPECT.command(keys_of(name).inspected) for name in names]
                with translated(prefix + "*"):
                    replies = line.exchange([("SCRIPT", "LOAD", INSPECT.source), *commands], CALL_S)[1:]
                for name, reply in zip(names, replies, strict=True):
                    # A key of another type under the prefix is no lock.
                    seen = None if isinstance(reply, Exception) else _read(name, reply)
                    if seen is not None:
                        yield seen
    finally:
        line.close()


def _scanned(master: Store, prefix: str) -> Iterator[Sequence[str]]:
    """Go over the keys of one server that may be locks, some at a time."""
    cursor: Any = 0
    while True:
        with translated(prefix + "*"):
            cursor, keys = master.call(("SCAN", cursor, "MATCH", _pattern(prefix), "COUNT", BATCH))
        yield [key.decode(errors="replace") for key in keys if not key.startswith(COMPANION)]
        if int(cursor) == 0:
            return


def _read(name: str, reply: Any) -> Inspection | None:
    left_ms, description, waiters, is_kept = reply
    if left_ms == _FREE:
        return None
    return Inspection(name, holders.read(description, left_ms), waiters, bool(is_kept))


def _pattern(prefix: str) -> str:
    return re.sub(r"([*?\[\]\\^-])", r"\\\1", prefix) + "*"
