"""Setup: what locks that are taken on the same terms in the same Redis have in common, made once for all.

A task makes a lock for each of its runs. What its options fix is not worked out anew for each.
"""

from __future__ import annotations

import math
from functools import lru_cache

from ...errors import ConfigurationError
from ..protocol import shared
from ..protocol.exclusive import RENEW
from ..protocol.keys import LockKeys
from ..protocol.shared import Words
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
        words: What is asked by those who share the lock; None: each has it alone.

    Raises:
        ConfigurationError: It is not a client that can keep locks.
    """

    __slots__ = ("redis_client", "renewal", "store", "terms", "way", "words")

    def __init__(
        self,
        redis_client: Client,
        terms: Terms,
        *,
        renews: bool = True,
        is_watched: bool = True,
        interval_s: float = math.inf,
        words: Words | None = None,
    ) -> None:
        self.redis_client, self.terms, self.words = redis_client, terms, words
        self.store = store_of(redis_client)
        way_of = _way_of if words is None else _shared_way_of
        self.way = way_of(terms, renews, interval_s)
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


@lru_cache(maxsize=1024)
def _shared_way_of(terms: Terms, renews: bool, interval_s: float) -> Way:
    return Way(
        terms.ttl_ms,
        shared.RENEW if renews else None,
        shared.renewed_by,
        acks=terms.min_replicas,
        interval_s=interval_s,
        max_hold_ms=terms.max_hold_ms,
    )


def words_of(is_shared: bool, limit: int | None, min_hold_ms: int) -> Words | None:
    """Return what is asked by those who share a lock, or None where each has it alone.

    Raises:
        ConfigurationError: The limit is none.
    """
    if limit is None:
        return _words_of(None, min_hold_ms) if is_shared else None
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise ConfigurationError(f"limit must be an int of at least 1, not {limit!r}")
    return _words_of(limit, min_hold_ms)


# A user makes a lock each time that it is taken.
_words_of = lru_cache(maxsize=1024)(Words)
