"""Terms: the durations of a lock, checked, in milliseconds (pure)."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from ...durations import Duration, to_ms
from ..transport.replication import replicas
from .lease import first_ms

#: Of a longer lease the record of the holder would be there for more than two minutes after a release: it
#: lasts a minute longer than the lease, see ``fence.lua``.
LONG_MS = 60_000


class Terms(NamedTuple):
    """What was asked for, checked, in milliseconds.

    Attributes:
        ttl_ms: Length of the lease and of each renewal.
        first_ttl_ms: Length of the lease before its first renewal.
        wait_ms: How long to wait for a busy lock; None: without end.
        min_hold_ms: Released earlier, the lock stays busy until so long after it was taken.
        max_hold_ms: No renewal reaches further than this after it was taken; None: no bound.
        min_replicas: So many must have acknowledged a grant or a renewal.
        is_long: The record of the holder would outlive the lock by more than two minutes.
    """

    ttl_ms: int
    first_ttl_ms: int
    wait_ms: int | None
    min_hold_ms: int
    max_hold_ms: int | None
    min_replicas: int
    is_long: bool

    @classmethod
    def in_ms(
        cls,
        ttl_ms: int,
        wait_ms: int | None = None,
        min_hold_ms: int = 0,
        max_hold_ms: int | None = None,
        min_replicas: int = 0,
    ) -> Terms:
        """Return terms of what was checked before."""
        first_ttl_ms, is_long = first_ms(ttl_ms, max_hold_ms), ttl_ms > LONG_MS
        return cls(ttl_ms, first_ttl_ms, wait_ms, min_hold_ms, max_hold_ms, min_replicas, is_long)


def terms_of(
    expire: Duration,
    wait: Duration | None,
    min_hold: Duration,
    max_hold: Duration | None,
    min_replicas: int,
) -> Terms:
    """Return the terms that a user gave to `RedisLock`.

    Raises:
        ConfigurationError: One of them cannot be right.
    """
    try:
        return _terms_of(expire, wait, min_hold, max_hold, min_replicas)
    except TypeError:
        # Of a list, say, no result can be kept: it is refused with the others that are no durations.
        return _terms_of.__wrapped__(expire, wait, min_hold, max_hold, min_replicas)


# A task makes a lock for each of its runs, on the same terms. Typed: True equals 1.
@lru_cache(maxsize=1024, typed=True)
def _terms_of(
    expire: Duration,
    wait: Duration | None,
    min_hold: Duration,
    max_hold: Duration | None,
    min_replicas: int,
) -> Terms:
    return Terms.in_ms(
        ttl_ms=to_ms(expire, "expire"),
        wait_ms=None if wait is None else to_ms(wait, "wait", minimum_ms=0),
        min_hold_ms=to_ms(min_hold, "min_hold", minimum_ms=0),
        max_hold_ms=None if max_hold is None else to_ms(max_hold, "max_hold"),
        min_replicas=replicas(min_replicas, "min_replicas"),
    )
