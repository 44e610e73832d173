"""Counting: lengths of time in buckets keep their percentiles within a tenth."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_redislock.observing.counting import LAST_BUCKET, SHORTEST_S, Numbers, bucket_of, seconds_of


@given(st.floats(min_value=SHORTEST_S, max_value=30 * 86400))
def test_the_middle_of_a_bucket_is_within_a_tenth_of_what_fell_into_it(seconds: float) -> None:
    assert math.isclose(seconds_of(bucket_of(seconds)), seconds, rel_tol=0.1)


@given(st.floats(min_value=0, max_value=1e12), st.floats(min_value=0, max_value=1e12))
def test_a_longer_time_is_in_no_earlier_bucket(one: float, other: float) -> None:
    assert bucket_of(min(one, other)) <= bucket_of(max(one, other)) <= LAST_BUCKET


def test_a_clock_that_went_back_counts_as_no_time() -> None:
    assert bucket_of(-3.0) == bucket_of(0.0) == 0


def times_of(*seconds: float) -> Numbers:
    """Return numbers of these holds."""
    buckets: dict[int, int] = {}
    for each in seconds:
        buckets[bucket_of(each)] = buckets.get(bucket_of(each), 0) + 1
    return Numbers(times={"hold": buckets})


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1.0), (0.5, 1.0), (0.95, 1.0), (0.96, 60.0), (1.0, 60.0)]
)
def test_a_percentile_is_what_this_share_did_not_exceed(share: float, expected: float) -> None:
    found = times_of(*[1.0] * 95, *[60.0] * 5).percentile("hold", share)

    assert found == pytest.approx(expected, rel=0.1)


def test_of_nothing_there_is_no_percentile() -> None:
    assert Numbers().percentile("hold", 0.5) is None
    assert times_of(1.0).percentile("wait", 0.5) is None


def test_a_count_without_a_word_is_that_of_all_words() -> None:
    numbers = Numbers({("conflicts", "skip"): 2, ("conflicts", "retry"): 3, ("acquired", "at_once"): 9})

    assert numbers.count("conflicts", "skip") == 2
    assert numbers.count("conflicts") == 5
    assert numbers.count("conflicts", "fail") == numbers.count("lost") == 0
