"""Wrong batches: each holds its lock as one would at first; the checks must tell."""

from __future__ import annotations

import os
from typing import Any

from celery_redislock.engine.group_lease import Left, Member
from celery_redislock.engine.protocol import exclusive

#: Names the wrong way in which a worker holds the locks of its batches.
WRONG = "REDISLOCK_TEST_WRONG_BATCH"


def _release_with_the_first_member() -> None:
    """Like ``after_return`` of one task: whoever ends gives the lock back."""

    def depart(self: Any, idle_ms: int, done: str, _: int) -> Left:
        self._stop_renewing()
        self._companion.store.run(*exclusive.release(self._keys, self._token, 0, done))
        return Left.NOBODY

    Member.depart = depart  # type: ignore[method-assign]


def _never_renew() -> None:
    """Take a lease that is surely long enough."""
    run = Member.run

    def run_once(self: Any, ttl_ms: int, words: Any) -> bool:
        joined = run(self, ttl_ms, words)
        self._stop_renewing()
        return joined

    Member.run = run_once  # type: ignore[method-assign]


def _tell_nobody() -> None:
    """Give the lock back, and leave it to the workers' step to find what is wanted of it."""
    depart = Member.depart

    def depart_in_silence(self: Any, *told: Any) -> Left:
        return min(depart(self, *told), Left.NOBODY)

    Member.depart = depart_in_silence  # type: ignore[method-assign]


#: Those that let two batches overlap.
WAYS = {"releases with the first member": _release_with_the_first_member, "never renews": _never_renew}
#: The one that lets a wanted batch wait.
UNTOLD = "tells nobody"

if WRONG in os.environ:
    {**WAYS, UNTOLD: _tell_nobody}[os.environ[WRONG]]()
