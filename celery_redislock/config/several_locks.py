"""SeveralLocks: the locks of one call of a task whose `lock_key` is a list, taken all or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from datetime import timedelta
from functools import partial

from ..engine import RedisLock, RedisLocks
from ..holder import Holder

__all__ = ["SeveralLocks", "tokens_under"]

#: So often a delivery asks at most: at once or as long as `lock_wait` says; and once more for a holder that
#: is about to give a lock back, or is an earlier delivery of the same message.
ROUNDS = 2


class SeveralLocks(RedisLocks):
    """`RedisLocks` with the face that runs and policies know of a lock.

    Attributes:
        met: The lock that was busy when they were asked for last.
    """

    def __init__(self, locks: Iterable[RedisLock], wait: float | timedelta | None = None) -> None:
        super().__init__(locks, wait)
        self.met = self.locks[0]
        self._round = 0

    @classmethod
    def around(cls, locks: Iterable[RedisLock]) -> SeveralLocks:
        """Return locks that are held around this code: they are looked at, and neither taken nor released."""
        several = cls.__new__(cls)
        several._wait_s, several.locks = None, tuple(locks)
        several.names = tuple(lock.name for lock in several.locks)
        several.met = several.locks[0]
        return several

    @property
    def name(self) -> str:
        """All names, for people: of a log line, of an event."""
        return ", ".join(self.names)

    @property
    def was_busy(self) -> bool:
        """Whether somebody else had one of them when it was asked for."""
        return any(lock.was_busy for lock in self.locks)

    @property
    def with_pending(self) -> tuple[str, ...]:
        """The names of those for which runs of other tasks are pending."""
        return tuple(lock.name for lock in self.locks if lock.has_pending)

    @property
    def has_pending(self) -> bool:
        """Whether runs of other tasks are pending for one of them."""
        return bool(self.with_pending)

    @property
    def loss_reason(self) -> str | None:
        """Why the first that was lost was lost, in one word, or None."""
        lock = self.lost_lock
        return None if lock is None else lock.loss_reason

    def was_done(self, work: str) -> bool:
        """Whether this is what was done last under one of them: other work may have followed under others."""
        return any(lock.was_done(work) for lock in self.locks)

    def take(
        self, *, blocking: bool = False, timeout: float | None = None, token: str | None = None
    ) -> Holder | None:
        """Take all locks, or none, as `RedisLock.attempt` takes one.

        Args:
            blocking, timeout: For all of them together.
            token: Of the delivery; each lock gets one of its own, see `token_under`.

        Returns:
            None when all are held, else the holder of `met`.
        """
        self._round += 1
        seed = token if token is not None and self._round <= ROUNDS else os.urandom(16).hex()
        token_of = partial(token_under, seed, self._round)
        busy = self.attempt(blocking=blocking, timeout=timeout, token_of=token_of)
        if busy is None:
            return None
        self.met = self.member(busy.name) or self.met
        return busy.holder or Holder()

    def member(self, name: str) -> RedisLock | None:
        """Return the lock of this Redis key, if it is one of them."""
        return next((lock for lock in self.locks if lock.name == name), None)


def token_under(token: str, number: int, name: str) -> str:
    """Return the token with which a delivery holds one of its several locks.

    Args:
        token: Of the delivery.
        number: How often it has asked for them. What was given back is not taken with the same token again.
        name: The Redis key of the lock.
    """
    return hashlib.sha256(f"{token} {number} {name}".encode()).hexdigest()[:32]


def tokens_under(token: str, name: str) -> list[str]:
    """Return the tokens with which a delivery may hold a lock, or wait for it.

    So the worker's parent, who has made the delivery's token, gives back what its dead child held.
    """
    return [token_under(token, number, name) for number in range(1, ROUNDS + 1)]
