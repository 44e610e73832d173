"""celery_redislock: the engine's ``RedisLock``."""

from __future__ import annotations

import redis

from celery_redislock import RedisLock


class RedislockContender:
    """Fencing token, metadata and wake-up are part of every cycle."""

    def __init__(self, port: int) -> None:
        self._client = redis.Redis(port=port)

    def make(self, name: str, ttl_s: float) -> RedisLock:
        return RedisLock(self._client, name, expire=ttl_s, metadata={"owner": "benchmark"})

    def make_renewed(self, name: str, ttl_s: float) -> RedisLock:
        return RedisLock(self._client, name, expire=ttl_s, renew=True)

    def acquire(self, lock: RedisLock) -> bool:
        return lock.acquire()

    def wait(self, lock: RedisLock) -> None:
        while not lock.acquire(blocking=True, timeout=600):
            pass

    def release(self, lock: RedisLock) -> None:
        lock.release()

    def holds(self, lock: RedisLock) -> bool:
        return not lock.lost and lock.owned()
