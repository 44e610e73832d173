"""Terms: what the user of a lock asks for is checked and counted once, in milliseconds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from celery_redislock import ConfigurationError
from celery_redislock.engine.lease.terms import Terms, terms_of


def terms(
    expire: Any = 10, wait: Any = None, min_hold: Any = 0, max_hold: Any = None, acks: Any = 0
) -> Terms:
    """Return terms of which most are the default."""
    return terms_of(expire, wait, min_hold, max_hold, acks)


def test_durations_are_milliseconds_inside() -> None:
    asked = terms(expire=1.5, wait=timedelta(seconds=2), min_hold=0.25, max_hold=60, acks=1)

    assert asked == Terms(1500, 1500, 2000, 250, 60_000, 1, is_long=False)


def test_the_first_lease_is_not_longer_than_max_hold() -> None:
    assert terms(expire=10, max_hold=4).first_ttl_ms == 4000


@pytest.mark.parametrize("wrong", [True, False, "10", [10], {}, float("nan"), float("inf"), -1, 0])
def test_what_is_no_duration_is_refused_though_its_equal_was_accepted(wrong: Any) -> None:
    terms(expire=1)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="expire"):
            terms(expire=wrong)


@pytest.mark.parametrize("wrong", [True, 1.0, -1, None, [1]])
def test_what_is_no_number_of_replicas_is_refused_though_its_equal_was_accepted(wrong: Any) -> None:
    terms(acks=1)
    with pytest.raises(ConfigurationError, match="min_replicas"):
        terms(acks=wrong)
