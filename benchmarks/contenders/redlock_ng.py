"""redlock-ng: Redlock with one master; waiters ask every 0.1 to 0.3 s."""

from __future__ import annotations

from typing import Any

from redlock import Redlock


class RedlockNgContender:
    """A lock is a list of its name, its ttl and what `acquire` returned."""

    def __init__(self, port: int) -> None:
        # Its default gives up on a reply after 0.1 s and then counts the lock as not acquired.
        self._redlock = Redlock([f"redis://127.0.0.1:{port}/0"])
        self._asks_once = Redlock([f"redis://127.0.0.1:{port}/0"], retry_count=0)

    def make(self, name: str, ttl_s: float) -> list[Any]:
        return [name, int(1000 * ttl_s), None]

    def make_renewed(self, name: str, ttl_s: float) -> list[Any]:
        raise NotImplementedError

    def holds(self, lock: list[Any]) -> bool:
        raise NotImplementedError

    def acquire(self, lock: list[Any]) -> bool:
        lock[2] = self._asks_once.acquire(lock[0], lock[1])
        return lock[2] is not None

    def wait(self, lock: list[Any]) -> None:
        lock[2] = self._redlock.acquire(lock[0], lock[1], blocking=True)

    def release(self, lock: list[Any]) -> None:
        self._redlock.release(lock[2])
