"""Trial: locks of one kind on one name, and what can befall them."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from typing import Any

import redis

from ..support.arena import Arena, companion
from ..support.deadlines import eventually
from ..support.waiting_threads import Waiting, until_in_line
from .kinds import Can, LockKind

#: What the name of each trial's lock begins with.
NAME = "the lock"
_numbers = count(1)

#: A lease longer than any test, seconds.
LONG = 60.0

#: Seconds: what two busy cores may add to a bound of the contract.
SLACK = 0.3


class Trial:
    """One kind of lock in one arena.

    Attributes:
        client: A client that sees what is true.
        proxy: The network of `victim`.
        victim: A client behind the proxy that gives up on a reply soon, and retries by itself.
        user: The client of locks that are given no other.
        name: The lock's name.
    """

    def __init__(self, kind: LockKind, arena: Arena, user: redis.Redis | None = None) -> None:
        self.kind, self.arena = kind, arena
        # Of its own: who still waits for the lock of a trial before it, and is wrong, must not take this one.
        self.name = f"{NAME} {next(_numbers)}"
        self.client, self.proxy, self.victim = arena.client, arena.proxy, arena.victim
        self.user = user or arena.client

    def lock(self, expire: float = LONG, client: redis.Redis | None = None, **options: Any) -> Any:
        """Return a lock that nobody has taken."""
        return self.kind.lock_class(client or self.user, self.name, expire, **options)

    def held(self, expire: float = LONG, client: redis.Redis | None = None, **options: Any) -> Any:
        """Return a lock, taken."""
        lock = self.lock(expire, client, **options)
        assert lock.acquire()
        return lock

    def is_free(self) -> bool:
        """Whether nobody holds it."""
        return not self.client.exists(self.name)

    def until_free(self, within: float = 10.0) -> None:
        """Return when nobody holds it."""
        eventually(self.is_free, within, "the lock should be free")

    def lease_left(self) -> float:
        """Return what Redis keeps of the lease, seconds."""
        return int(self.client.pttl(self.name)) / 1000

    def take_away(self) -> None:
        """Take the lock from its holder; nobody has it then."""
        self.client.delete(self.name)

    def give_away(self) -> None:
        """Give the lock to a stranger."""
        self.client.set(self.name, "a stranger's", px=60_000)

    def lose_all_data(self) -> None:
        """Have a Redis that remembers nothing."""
        self.client.flushall()

    def shorten_lease(self, left: float) -> None:
        """Have no more left of the lease than so many seconds."""
        self.client.pexpire(self.name, int(left * 1000))

    def end_lease(self) -> None:
        """Have the lease end now."""
        self.shorten_lease(0.001)
        self.until_free()

    def wait(
        self,
        timeout: float | None = 30.0,
        then: Callable[[Any], object] = lambda lock: None,
        lock: Any = None,
    ) -> Waiting:
        """Have a thread wait for the lock, with an object of its own unless one is given."""
        return Waiting(lock or self.lock(), timeout, then)

    def until_in_line(self, number: int) -> None:
        """Return when so many wait; who stands in no line has asked once by then."""
        if Can.STAND_IN_LINE in self.kind.can:
            until_in_line(self.client, self.name, number)
        else:
            pass_seconds(SLACK)

    def in_line(self) -> int:
        """Return how many stand in line."""
        return int(self.client.zcard(companion("waiters", self.name)))


def seconds_pass(seconds: float) -> Callable[[], bool]:
    """Return a question that is answered with yes after so many seconds."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def pass_seconds(seconds: float) -> None:
    """Return after so many seconds."""
    eventually(seconds_pass(seconds), seconds + 10)
