"""Wrong lists of locks: each breaks one rule of `RedisLocks`; the stories of several locks must tell."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from celery_redislock import LockBusy, RedisLock, RedisLocks


class TakesThemAsGiven(RedisLocks):
    """The order is the caller's: one has the first and waits for the second, another the other way round."""

    def __init__(self, locks: Iterable[RedisLock], wait: float | timedelta | None = None) -> None:
        locks = list(locks)
        super().__init__(locks, wait)
        self.locks = tuple(locks)


class TakesOnlyTheFirst(RedisLocks):
    """A list that is read like a single lock."""

    def __init__(self, locks: Iterable[RedisLock], wait: float | timedelta | None = None) -> None:
        super().__init__(locks, wait)
        self.locks = self.locks[:1]


class KeepsWhatItHas(RedisLocks):
    """The next attempt will need it again."""

    def _give_back(self, tokens: dict[str, str]) -> None:
        pass


class WaitsForEach(RedisLocks):
    """The timeout is handed on to each lock."""

    def _attempt(self, tokens: dict[str, str], blocking: bool, timeout: Any) -> LockBusy | None:
        for lock in self.locks:
            if not lock.acquire(blocking=blocking, timeout=timeout):
                self.release()
                return LockBusy(lock.name)
        return None


class LetsTheEarlierEnd(RedisLocks):
    """Whoever does not want renewals gets none."""

    def _attempt(self, tokens: dict[str, str], blocking: bool, timeout: Any) -> LockBusy | None:
        for lock in self.locks:
            lock.keep = lambda: int  # type: ignore[method-assign]
        return super()._attempt(tokens, blocking, timeout)


class IsLostWithTheLast(RedisLocks):
    """It holds something still."""

    @property
    def lost_lock(self) -> RedisLock | None:
        """The first of them once all are lost."""
        return self.locks[0] if all(lock.lost for lock in self.locks) else None
