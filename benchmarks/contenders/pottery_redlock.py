"""pottery: Redlock with one master, through a pool of threads."""

from __future__ import annotations

import redis
from pottery import Redlock


class PotteryContender:
    """pottery's ``Redlock``."""

    def __init__(self, port: int) -> None:
        self._client = redis.Redis(port=port)

    def make(self, name: str, ttl_s: float) -> Redlock:
        return Redlock(key=name, masters={self._client}, auto_release_time=ttl_s)

    def make_renewed(self, name: str, ttl_s: float) -> Redlock:
        raise NotImplementedError

    def holds(self, lock: Redlock) -> bool:
        raise NotImplementedError

    def acquire(self, lock: Redlock) -> bool:
        return bool(lock.acquire(blocking=False))

    def wait(self, lock: Redlock) -> None:
        lock.acquire()

    def release(self, lock: Redlock) -> None:
        lock.release()
