"""Setup: what locks that are taken on the same terms in the same Redis have in common, made once for all.

A task makes a lock for each of its runs. What its options fix is not worked out anew for each.
"""

from __future__ import annotations

import math
from functools import lru_cache

from ..protocol.exclusive import RENEW
from ..protocol.keys import LockKeys
from ..transport.clients import Client, store_of
from .per_client import renewal_of
from .renewal import pace_of
from .terms import Terms
from .watch import Way


class Setup:
    """How and where locks are taken, and renewed.

    Args:
        redis_client: As for a `RedisLock`.
        terms: Of each lock.
        renews: The leases are renewed.
        is_watched: If they are not, their end is noticed.
        interval_s: As for a `Way`.

    Raises:
        ConfigurationError: It is not a client that can keep locks.
    """

    __slots__ = ("redis_client", "renewal", "store", "terms", "way")

    def __init__(
        self,
        redis_client: Client,
        terms: Terms,
        *,
        renews: bool = True,
        is_watched: bool = True,
        interval_s: float = math.inf,
    ) -> None:
        self.redis_client, self.terms = redis_client, terms
        self.store = store_of(redis_client)
        self.way = _way_of(terms, renews, interval_s)
        pace_s = pace_of(terms.ttl_ms, interval_s) if renews else 0.0
        self.renewal = renewal_of(self.store, pace_s) if is_watched else None


# A user makes a lock each time that it is taken, on the same terms.
@lru_cache(maxsize=1024)
def _way_of(terms: Terms, renews: bool, interval_s: float) -> Way:
    return Way(
        terms.ttl_ms,
        RENEW if renews else None,
        LockKeys.renewed_by,
        acks=terms.min_replicas,
        interval_s=interval_s,
        max_hold_ms=terms.max_hold_ms,
    )
