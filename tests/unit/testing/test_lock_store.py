"""LockStore: what may happen to the locks of a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from celery_redislock import ConfigurationError, RedisLock
from celery_redislock.testing import LockStore

NAME = "api"


@pytest.fixture
def store() -> Iterator[LockStore]:
    with LockStore() as store:
        yield store


def got(store: LockStore) -> int:
    """Return how many of four get one of three places at once."""
    locks = [RedisLock(store.client, NAME, limit=3) for _ in range(4)]
    number = sum(lock.acquire() for lock in locks)
    for lock in locks:
        lock.release()
    return number


def test_an_operator_may_set_a_limit_and_take_it_away(store: LockStore) -> None:
    assert got(store) == 3

    store.limit(NAME, 2)
    assert got(store) == 2
    store.limit(NAME, None)
    assert got(store) == 3


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "2"])
def test_a_limit_that_is_none_is_refused(store: LockStore, wrong: int) -> None:
    with pytest.raises(ConfigurationError, match=r"limit\(\) needs an int of at least 1, or None"):
        store.limit(NAME, wrong)
