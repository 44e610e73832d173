"""Retrying: delays double, spread out, end with the lease, and stay within the time that is given."""

from __future__ import annotations

from typing import Any

import pytest

from celery_redislock.config.resolution import LockOptions, resolve
from celery_redislock.conflicts.retrying import LEASE_END_JITTER_S, Attempts
from celery_redislock.messages.headers import OUTAGE_HEADER, RETRY_HEADER


def retrying(**options: Any) -> LockOptions:
    return resolve({}, "t", {"on_conflict": "retry", **options})


def test_delays_double_from_the_first_to_the_largest_with_jitter() -> None:
    options = retrying(retry_delay=(1, 60))

    for count, longest in enumerate([1, 2, 4, 8, 16, 32, 60, 60, 60]):
        delays = [Attempts(count).delay_s(options, 1e9) for _ in range(200)]
        assert longest / 2 <= min(delays) <= max(delays) <= longest
        assert max(delays) - min(delays) > longest / 10


@pytest.mark.parametrize("count", [0, 5, 10_000])
@pytest.mark.parametrize("lease_left", [0.0, 0.3, 7.0])
def test_a_retry_never_comes_later_than_shortly_after_the_lease_has_ended(
    count: int, lease_left: float
) -> None:
    options = retrying(retry_delay=(60, 3600))

    delays = [Attempts(count).delay_s(options, lease_left) for _ in range(200)]

    assert lease_left <= min(delays)
    assert max(delays) <= lease_left + LEASE_END_JITTER_S
    assert max(delays) - min(delays) > LEASE_END_JITTER_S / 2, "all would come at the same moment"


def test_a_lease_without_end_leaves_the_delays_alone() -> None:
    delays = [Attempts(5).delay_s(retrying(retry_delay=(4, 8))) for _ in range(100)]

    assert 4 <= min(delays) <= max(delays) <= 8


@pytest.mark.parametrize(("waited_s", "longest"), [(0.0, 10.0), (9.0, 1.0), (9.999, 0.001)])
def test_the_last_delay_ends_with_the_time_that_is_given(waited_s: float, longest: float) -> None:
    delay_s = Attempts(7, waited_s).next_delay_s(retrying(retry_delay=(60, 60), retry_for=10))

    assert delay_s == pytest.approx(longest)


@pytest.mark.parametrize("waited_s", [10.0, 9.9999, 11.0])
def test_there_is_no_delay_when_the_time_is_over(waited_s: float) -> None:
    assert Attempts(7, waited_s).next_delay_s(retrying(retry_for=10)) is None


def test_without_a_limit_there_always_is_a_next_delay() -> None:
    assert Attempts(10_000, 1e9).next_delay_s(retrying(retry_delay=(60, 60), retry_for=None)) is not None


def test_attempts_travel_in_a_header() -> None:
    attempts = Attempts().after(1.5).after(2.0)

    assert attempts == Attempts(2, 3.5)
    assert Attempts.in_headers({RETRY_HEADER: attempts.as_header()}, RETRY_HEADER) == attempts
    assert Attempts.in_headers({RETRY_HEADER: attempts.as_header()}, OUTAGE_HEADER) == Attempts()
