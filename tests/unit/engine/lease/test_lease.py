"""Leases: what a grant gave, counted on the local clock from before it was asked for."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from celery_redislock.engine.lease.lease import Lease, now

TOKEN = "0" * 32


def granted(ttl_ms: int = 10_000, sent_at: float = 100.0, max_hold_ms: int | None = None) -> Lease:
    """Return a lease that was asked for at `sent_at`."""
    return Lease.granted(TOKEN, 1, ttl_ms, sent_at, max_hold_ms)


@given(st.integers(1, 10**9), st.floats(0, 1e9))
def test_a_lease_is_believed_for_less_than_redis_keeps_it(ttl_ms: int, sent_at: float) -> None:
    assert granted(ttl_ms, sent_at).valid_until < sent_at + ttl_ms / 1000


def test_the_margin_is_small() -> None:
    assert granted(ttl_ms=10_000).remaining(at=100.0) > 9.85


def test_what_remains_of_a_lease_ends_at_nothing() -> None:
    lease = granted()

    assert 4.5 < lease.remaining(at=105.0) < 5
    assert lease.remaining(at=110.0) == 0.0
    assert lease.remaining(at=1000.0) == 0.0


def test_a_renewal_counts_from_when_it_was_sent() -> None:
    lease = granted().renewed(sent_at=105.0, ttl_ms=10_000)

    assert 114.8 < lease.valid_until < 115.0
    assert (lease.token, lease.fencing_token, lease.ttl_ms) == (TOKEN, 1, 10_000)


def test_without_max_hold_every_renewal_asks_for_a_full_lease() -> None:
    assert granted().renewal_ms(at=10**9) == 10_000


def test_a_renewal_never_reaches_beyond_max_hold() -> None:
    lease = granted(max_hold_ms=25_000)

    assert lease.renewal_ms(at=110.0) == 10_000
    assert lease.renewal_ms(at=120.0) == 5000
    assert lease.renewal_ms(at=125.0) == 0
    assert lease.renewal_ms(at=200.0) == 0


def test_the_local_clock_only_goes_forward() -> None:
    moments = [now() for _ in range(100)]

    assert moments == sorted(moments)
    # Whatever clock it is, it is none that somebody may set.
    assert now() - time.monotonic() >= -0.001
