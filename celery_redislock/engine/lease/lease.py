"""Lease: what one grant gave, and for how long it can be believed on the local clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

#: A lease is believed for 1 % and 2 ms less than Redis keeps it, for clocks that run at different
#: rates; the figures of the Redlock specification, https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/
DRIFT_SHARE = 0.01
DRIFT_S = 0.002

#: Counts the time a machine sleeps too, where the system has such a clock: a laptop's lid or a paused VM.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


#: Returns seconds on the local clock that leases are counted on. No function of ours: a run asks often.
now: Callable[[], float] = partial(time.clock_gettime, _CLOCK)


class Lease(NamedTuple):
    """One grant of a lock.

    Attributes:
        token: The random mark of this holding.
        fencing_token: The number of this grant; a later grant of the same name has a larger one.
        ttl_ms: Length of the lease and of each renewal, milliseconds.
        valid_until: Local clock, seconds; after it another may hold the lock.
        hold_until: Local clock, seconds; no renewal reaches beyond it. None: no such bound.
    """

    token: str
    fencing_token: int
    ttl_ms: int
    valid_until: float
    hold_until: float | None = None

    @classmethod
    def granted(
        cls, token: str, fencing_token: int, ttl_ms: int, sent_at: float, max_hold_ms: int | None
    ) -> Lease:
        """Count a lease from *before* its request was sent: Redis cannot have begun earlier."""
        if max_hold_ms is None:
            return cls(token, fencing_token, ttl_ms, sent_at + believed_s(ttl_ms))
        valid_until = sent_at + believed_s(first_ms(ttl_ms, max_hold_ms))
        return cls(token, fencing_token, ttl_ms, valid_until, sent_at + max_hold_ms / 1000)

    def renewed(self, sent_at: float, ttl_ms: int) -> Lease:
        """Return the lease after a renewal that was sent at `sent_at` and accepted."""
        return self._replace(valid_until=sent_at + believed_s(ttl_ms))

    def renewal_ms(self, at: float) -> int:
        """Return the ttl to ask for in a renewal sent at `at`; 0 when the lock may not be held longer."""
        if self.hold_until is None:
            return self.ttl_ms
        return max(0, min(self.ttl_ms, int((self.hold_until - at) * 1000)))

    @property
    def is_at_max_hold(self) -> bool:
        """Whether it lasts for as long as the lock may be held: no renewal would have prolonged it."""
        if self.hold_until is None:
            return False
        # No more than what is never believed of a lease, and the part of a millisecond that is not asked for.
        return self.hold_until - self.valid_until <= self.ttl_ms / 1000 - believed_s(self.ttl_ms) + 0.001

    def remaining(self, at: float) -> float:
        """Return for how many seconds from `at` the lease can be believed; 0.0 when it has ended."""
        return max(0.0, self.valid_until - at)


def first_ms(ttl_ms: int, max_hold_ms: int | None) -> int:
    """Return the length of a lease before its first renewal, milliseconds."""
    return ttl_ms if max_hold_ms is None else min(ttl_ms, max_hold_ms)


def believed_s(ttl_ms: int) -> float:
    """Return for how many seconds a lease of this length is believed, counted from when it was asked for."""
    return ttl_ms / 1000 * (1 - DRIFT_SHARE) - DRIFT_S
