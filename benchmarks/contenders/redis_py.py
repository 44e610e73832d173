"""redis-py: the ``Lock`` that comes with the client; waiters ask every 0.1 s."""

from __future__ import annotations

import redis
from redis.lock import Lock


class RedisPyContender:
    """redis-py's own lock."""

    def __init__(self, port: int) -> None:
        self._client = redis.Redis(port=port)

    def make(self, name: str, ttl_s: float) -> Lock:
        lock: Lock = self._client.lock(name, timeout=ttl_s)
        return lock

    def make_renewed(self, name: str, ttl_s: float) -> Lock:
        raise NotImplementedError

    def holds(self, lock: Lock) -> bool:
        raise NotImplementedError

    def acquire(self, lock: Lock) -> bool:
        return bool(lock.acquire(blocking=False))

    def wait(self, lock: Lock) -> None:
        lock.acquire()

    def release(self, lock: Lock) -> None:
        lock.release()
