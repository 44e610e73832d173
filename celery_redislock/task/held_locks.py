"""Held locks: which locks are held around the code that runs in this thread.

A run enters here when it begins and leaves when it ends; so does a member of a batch. What is called inside
of it, an eager call say, needs no second lock of the same key.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from ..engine import RedisLock
from ..errors import LockBusy
from .unlocked import Unlocked


class Around(Protocol):
    """What may hold a lock around the code that runs here."""

    def lock_held(self, key: str) -> RedisLock | Unlocked | None:
        """Return the lock of this Redis key, as the body sees it; None: it is not held here."""


A = TypeVar("A")

#: The innermost comes last.
_around: ContextVar[tuple[Any, ...]] = ContextVar("redislock_around", default=())


def enter(around: Around) -> tuple[Around, ...]:
    """Have what runs here from now on be inside of this; return what it was inside of before."""
    before = _around.get()
    _around.set((*before, around))
    return before


def leave(around: Around) -> None:
    """Have what runs here from now on be outside of this; nothing if it was not inside."""
    before = _around.get()
    if before and before[-1] is around:
        _around.set(before[:-1])
    elif around in before:
        _around.set(tuple(other for other in before if other is not around))


def innermost(kind: type[A]) -> A | None:
    """Return the innermost of this kind around the code that runs here."""
    for around in reversed(_around.get()):
        if isinstance(around, kind):
            return around
    return None


def all_around(kind: type[A]) -> list[A]:
    """Return all of this kind around the code that runs here, the innermost first."""
    return [around for around in reversed(_around.get()) if isinstance(around, kind)]


def held_in(around: tuple[Around, ...], lock: RedisLock) -> RedisLock | Unlocked | None:
    """Return the lock of this Redis key that one of these holds, the innermost first; None: none does.

    Args:
        around: What may hold it.
        lock: That is to be taken.

    Raises:
        LockBusy: What is held is shared by more than this one may be. It would wait for its own holder.
    """
    for one in reversed(around):
        held = one.lock_held(lock.name)
        if held is not None:
            if isinstance(held, RedisLock) and not _is_as_strict(held, lock):
                raise LockBusy(lock.name, held.as_holder(), held.remaining)
            return held
    return None


def _is_as_strict(held: RedisLock, asked: RedisLock) -> bool:
    """Whether who has the first lock has all that the second promises."""
    if not held.shared:
        return True
    if not asked.shared:
        return False
    return asked.limit is None or (held.limit is not None and held.limit <= asked.limit)
