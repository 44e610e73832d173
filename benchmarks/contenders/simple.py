"""The simple class that this project began with: ``SET NX EX``, a script to release, a look every 10 ms."""

from __future__ import annotations

import time
import uuid

import redis

RELEASE = """
if redis.call("get", KEYS[1]) == ARGV[1] then
    return redis.call("del", KEYS[1])
else
    return 0
end
"""


class SimpleLock:
    """As found in many a code base; no renewal, no fencing token, no queue."""

    def __init__(self, redis_client: redis.Redis, lock_name: str, expire: int = 10) -> None:
        self.redis_client = redis_client
        self.lock_name = lock_name
        self.lock_uuid = str(uuid.uuid4())
        self.expire = expire

    def acquire(self, blocking: bool = False) -> bool:
        """Take it, now or by trying every 10 ms."""
        while True:
            if self.redis_client.set(self.lock_name, self.lock_uuid, nx=True, ex=self.expire):
                return True
            if not blocking:
                return False
            time.sleep(0.01)

    def release(self) -> bool:
        """Give it back if it is still ours."""
        return bool(self.redis_client.eval(RELEASE, 1, self.lock_name, self.lock_uuid) == 1)


class SimpleContender:
    """The simple class."""

    def __init__(self, port: int) -> None:
        self._client = redis.Redis(port=port)

    def make(self, name: str, ttl_s: float) -> SimpleLock:
        return SimpleLock(self._client, name, expire=int(ttl_s))

    def make_renewed(self, name: str, ttl_s: float) -> SimpleLock:
        raise NotImplementedError

    def holds(self, lock: SimpleLock) -> bool:
        raise NotImplementedError

    def acquire(self, lock: SimpleLock) -> bool:
        return lock.acquire()

    def wait(self, lock: SimpleLock) -> None:
        lock.acquire(blocking=True)

    def release(self, lock: SimpleLock) -> None:
        lock.release()
