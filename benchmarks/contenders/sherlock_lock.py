"""sherlock: a script for each step; waiters ask every 0.1 s."""

from __future__ import annotations

import redis
import sherlock


class SherlockContender:
    """sherlock's ``RedisLock``."""

    def __init__(self, port: int) -> None:
        self._client = redis.Redis(port=port)

    def make(self, name: str, ttl_s: float) -> sherlock.RedisLock:
        return sherlock.RedisLock(name, client=self._client, expire=ttl_s, timeout=600)

    def make_renewed(self, name: str, ttl_s: float) -> sherlock.RedisLock:
        raise NotImplementedError

    def holds(self, lock: sherlock.RedisLock) -> bool:
        raise NotImplementedError

    def acquire(self, lock: sherlock.RedisLock) -> bool:
        return bool(lock.acquire(blocking=False))

    def wait(self, lock: sherlock.RedisLock) -> None:
        lock.acquire()

    def release(self, lock: sherlock.RedisLock) -> None:
        lock.release()
