"""Waiting: a thread that waits for a lock, and remembers when it got it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import redis

from celery_redislock import RedisLock

from .arena import companion
from .deadlines import eventually


class Waiting(threading.Thread):
    """A thread in ``lock.acquire(blocking=True, timeout=timeout)``.

    Args:
        lock: The lock.
        timeout: For `acquire`.
        then: Called with the lock when it was got.
    """

    def __init__(
        self,
        lock: RedisLock,
        timeout: float | None = 30.0,
        then: Callable[[RedisLock], object] = lambda lock: None,
    ) -> None:
        super().__init__(daemon=True)
        self.lock = lock
        self.began_at = time.monotonic()
        self.ended_at = 0.0
        self._timeout = timeout
        self._then = then
        self._answer: bool | BaseException | None = None
        self.start()

    def run(self) -> None:
        """Wait."""
        try:
            got = self.lock.acquire(blocking=True, timeout=self._timeout)
            self.ended_at = time.monotonic()
            if got:
                self._then(self.lock)
            self._answer = got
        except BaseException as error:
            self._answer = error

    def answer(self, within: float = 30.0) -> bool:
        """Return what `acquire` returned, or raise what it raised; it must come in time."""
        self.join(within)
        assert not self.is_alive(), f"it still waits after {within:g} s"
        if isinstance(self._answer, BaseException):
            raise self._answer
        assert self._answer is not None
        return self._answer


def until_in_line(client: redis.Redis, name: str, number: int) -> None:
    """Return when so many stand in the lock's queue."""
    eventually(
        lambda: client.zcard(companion("waiters", name)) == number,
        message=f"{number} should stand in line",
    )
