"""python-redis-lock: wakes one waiter by a list; renews with a thread for each lock."""

from __future__ import annotations

import redis
from redis_lock import Lock


class PythonRedisLockContender:
    """The nearest peer: it does not poll either."""

    def __init__(self, port: int) -> None:
        self._client = redis.Redis(port=port)

    def make(self, name: str, ttl_s: float) -> Lock:
        return Lock(self._client, name, expire=ttl_s)

    def make_renewed(self, name: str, ttl_s: float) -> Lock:
        return Lock(self._client, name, expire=ttl_s, auto_renewal=True)

    def acquire(self, lock: Lock) -> bool:
        return bool(lock.acquire(blocking=False))

    def wait(self, lock: Lock) -> None:
        lock.acquire()

    def release(self, lock: Lock) -> None:
        lock.release()

    def holds(self, lock: Lock) -> bool:
        return bool(lock.get_owner_id() == lock.id)
