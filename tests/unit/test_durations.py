"""Durations: seconds or timedelta at the door, whole milliseconds inside, and nothing else."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_redislock import ConfigurationError
from celery_redislock.durations import MAXIMUM_MS, to_ms

NO_DURATIONS = [None, True, False, "10", b"10", "", 1j, Decimal(1), [1], {}, object]

OUT_OF_RANGE = [
    0,
    0.0,
    -0.0,
    -1,
    -0.001,
    0.0004,
    0.0009,
    math.nan,
    math.inf,
    -math.inf,
    10**400,
    MAXIMUM_MS,
    timedelta(0),
    timedelta(microseconds=999),
    timedelta(seconds=-1),
    timedelta.max,
]


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        (1, 1000),
        (0.001, 1),
        (0.0015, 2),
        (0.57, 570),
        (1.1, 1100),
        (30, 30_000),
        (timedelta(milliseconds=1), 1),
        (timedelta(minutes=1, milliseconds=5), 60_005),
        (timedelta(days=365), 31_536_000_000),
    ],
)
def test_a_duration_is_whole_milliseconds(value: object, ms: int) -> None:
    assert to_ms(value, "expire") == ms
    assert isinstance(to_ms(value, "expire"), int)


@pytest.mark.parametrize("value", [*NO_DURATIONS, *OUT_OF_RANGE], ids=repr)
def test_what_is_no_positive_duration_is_refused_by_name(value: object) -> None:
    with pytest.raises(ConfigurationError, match="expire must be"):
        to_ms(value, "expire")


@pytest.mark.parametrize("value", [0, 0.0, timedelta(0)], ids=repr)
def test_nothing_at_all_is_a_duration_where_that_makes_sense(value: object) -> None:
    assert to_ms(value, "min_hold", minimum_ms=0) == 0


@pytest.mark.parametrize("value", [-1, -1e-9, timedelta(microseconds=-1), math.nan], ids=repr)
def test_less_than_nothing_never_is(value: object) -> None:
    with pytest.raises(ConfigurationError, match="at least 0 s"):
        to_ms(value, "min_hold", minimum_ms=0)


@given(st.floats() | st.integers() | st.timedeltas() | st.booleans() | st.text() | st.none())
def test_whatever_comes_is_a_number_of_milliseconds_or_refused(value: object) -> None:
    try:
        ms = to_ms(value, "expire")
    except ConfigurationError:
        return
    assert 1 <= ms <= MAXIMUM_MS
