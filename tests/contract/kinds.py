"""Kinds: the locks that are held to the contract, and how much of it each one promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any, Protocol
from weakref import WeakMethod

import redis
from redis.exceptions import LockError
from redis.lock import Lock

from celery_redislock import RedisLock, RedisLocks, StoreUnavailable
from celery_redislock.engine import ReleaseOutcome, confirmations


class Can(Flag):
    """What a lock may promise besides exclusion and a lease that ends by itself."""

    RENEW = auto()  #: `renew` starts a full lease anew
    RENEW_ITSELF = auto()  #: made with ``renew=True`` it renews its lease until the release
    ASK_AGAIN = auto()  #: a reply that is lost changes nothing
    TELL_LOSS = auto()  #: `lost`, `remaining`, `ensure_held`, ``on_lost`` and ``with`` tell of a loss
    NUMBER = auto()  #: each grant has a `fencing_token`
    WAIT = auto()  #: `acquire` waits for a busy lock
    STAND_IN_LINE = auto()  #: who waits is served first come, first served, and woken
    BE_SHARED = auto()  #: threads may share one object
    SHARE = auto()  #: made with ``shared=True`` or a ``limit``, several hold it at once


class AnyLock(Protocol):
    """What every lock has; see `Can` for what some have besides."""

    def acquire(self, blocking: bool = False, timeout: float | None = None) -> bool:
        """Take the lock; False when it is busy."""

    def release(self) -> bool:
        """Give it back; False when it is not ours."""

    def owned(self) -> bool:
        """Ask whether we have it."""


@dataclass(frozen=True)
class LockKind:
    """One kind of lock.

    Attributes:
        lock_class: Called with client, name and the length of the lease in seconds, and options of
            `RedisLock` as `Can` has them.
        can: What it promises.
    """

    lock_class: Callable[..., Any]
    can: Can

    def __str__(self) -> str:
        return self.lock_class.__name__


class RedisPysLock:
    """redis-py's own lock: it excludes, its lease ends, and who waits asks again and again."""

    def __init__(self, client: redis.Redis, name: str, expire: float = 10) -> None:
        self._lock = Lock(client, name, timeout=expire, thread_local=False)

    def acquire(self, blocking: bool = False, timeout: float | None = None) -> bool:
        """Take it."""
        try:
            return bool(self._lock.acquire(blocking=blocking, blocking_timeout=timeout))
        except redis.RedisError as error:
            raise StoreUnavailable(str(self._lock.name), str(error)) from error

    def release(self) -> bool:
        """Give it back."""
        return self._is_ours(self._lock.release)

    def renew(self) -> bool:
        """Start the lease anew."""
        return self._is_ours(self._lock.reacquire)

    def owned(self) -> bool:
        """Ask."""
        return self._lock.owned()

    def _is_ours(self, ask: Callable[[], object]) -> bool:
        try:
            ask()
        except LockError:
            return False
        return True


class SendsItsRelease(RedisLock):
    """A `RedisLock` whose release is sent, and confirmed later: at once, for a test that wants to know."""

    def release(self, *, done: str = "", unused: bool = False) -> bool:
        """Send it, and have it confirmed."""
        told: list[ReleaseOutcome] = []
        self.send_release(told.append, done=done)
        confirmations.confirm()
        (outcome,) = told
        if outcome.error is not None:
            raise outcome.error
        return outcome.released


class LimitOfOne(RedisLock):
    """A lock with a limit of one: it keeps what a lock promises that is nobody's to share."""

    def __init__(self, client: redis.Redis, name: str, expire: float = 10, **options: Any) -> None:
        super().__init__(client, name, expire, limit=1, **options)


class _Several(RedisLocks):
    """`RedisLocks` behind the face of one lock, which all tests know by its name."""

    #: Names of the locks beside the one that a test looks at.
    beside: tuple[str, ...] = ()

    def __init__(
        self,
        client: redis.Redis,
        name: str,
        expire: float = 10,
        *,
        wait: float | None = None,
        on_lost: Callable[[Any], object] | None = None,
        **options: Any,
    ) -> None:
        self.name, self._on_lost, self._untold = name, on_lost, [True]
        told = None if on_lost is None else WeakMethod(self._tell_once)
        names = [other.format(name) for other in self.beside] + [name]
        super().__init__([RedisLock(client, each, expire, on_lost=told, **options) for each in names], wait)

    def _tell_once(self, _: RedisLock) -> None:
        # One lost: all lost. Each lock tells of its own loss, to which the user of one lock listens once.
        if self._on_lost is not None and self._untold and self._untold.pop():
            self._on_lost(self)

    @property
    def fencing_token(self) -> int | None:
        """The number of the lock that the tests know."""
        return self.fencing_tokens.get(self.name)


class BeforeTwoOthers(_Several):
    """The tests' lock is the first of three: there one stands in line."""

    beside = ("z one more", "z yet one more")


class LimitedBeforeTwoOthers(BeforeTwoOthers):
    """The same of locks with a limit of one."""

    def __init__(self, client: redis.Redis, name: str, expire: float = 10, **options: Any) -> None:
        super().__init__(client, name, expire, limit=1, **options)


class AfterAnother(_Several):
    """The tests' lock is the last of two: who waits for it holds the other, and stands alone in its line."""

    beside = ("a first lock, then {}",)


REDIS_LOCK = LockKind(RedisLock, ~Can(0))
SEVERAL = LockKind(BeforeTwoOthers, ~Can(0))

#: An object has one place: a second thread that asks with it finds it busy, and does not wait.
LIMITED = LockKind(LimitOfOne, ~(Can.BE_SHARED | Can.SHARE))

KINDS = (
    REDIS_LOCK,
    LIMITED,
    LockKind(SendsItsRelease, ~Can(0)),
    SEVERAL,
    LockKind(LimitedBeforeTwoOthers, LIMITED.can),
    LockKind(AfterAnother, ~Can.STAND_IN_LINE),
    LockKind(RedisPysLock, Can.RENEW | Can.WAIT),
)
