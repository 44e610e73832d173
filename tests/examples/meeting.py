"""Meeting: makes runs meet in the middle of their work, so that overlap is sure and not luck.

A run that reaches its slow part waits there until every other party is in the same place, or was
turned away by the lock. Nobody sees a party that waits for the lock: a test whose parties do says so,
and those are given a while to come in.
"""

from __future__ import annotations

import os
import time

import redis

#: The environment variable with the number of parties.
PARTIES = "TEST_PARTIES"
#: The one that is set where parties wait for the lock.
THEY_WAIT = "TEST_PARTIES_WAIT"

#: Seconds that a started party has to come in, before it is taken to wait for the lock.
_COME_IN_WITHIN = 1.5

#: Seconds after which a meeting has failed.
_DEADLINE = 30.0

_STARTED, _INSIDE, _TURNED_AWAY = "meeting:started", "meeting:inside", "meeting:turned-away"


class Meeting:
    """One meeting on one (emptied) Redis; every process makes its own object of it.

    Args:
        url: Of the Redis.
        parties: How many meet.
        they_wait: Whether some of them may wait for the lock meanwhile.
    """

    def __init__(self, url: str, parties: int, they_wait: bool = False) -> None:
        self._client = redis.Redis.from_url(url, decode_responses=True)
        self._parties = parties
        self._they_wait = they_wait

    @classmethod
    def from_environment(cls) -> Meeting:
        """Meet as the test's environment says."""
        return cls(os.environ["REDISLOCK_URL"], int(os.environ[PARTIES]), THEY_WAIT in os.environ)

    def start(self) -> None:
        """Say that a party was started: it is before the lock, at it or behind it."""
        self._client.incr(_STARTED)

    def turn_away(self) -> None:
        """Say that a party found the lock busy."""
        self._client.incr(_TURNED_AWAY)

    def come_in(self) -> None:
        """Say that a party is inside, and wait there for the others.

        Raises:
            TimeoutError: When they do not come.
        """
        self._client.incr(_INSIDE)
        deadline = time.monotonic() + _DEADLINE
        patience_ends: float | None = None
        while self.inside() + self._count(_TURNED_AWAY) < self._parties:
            now = time.monotonic()
            if self._they_wait and patience_ends is None and self._count(_STARTED) >= self._parties:
                patience_ends = now + _COME_IN_WITHIN
            if patience_ends is not None and now >= patience_ends:
                return
            if now >= deadline:
                raise TimeoutError("the other runs never came")
            time.sleep(0.01)

    def inside(self) -> int:
        """Return how many have come in so far."""
        return self._count(_INSIDE)

    def _count(self, key: str) -> int:
        return int(str(self._client.get(key) or 0))
