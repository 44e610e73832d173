"""RedisLocks: which locks can be taken together, in which order, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from celery_redislock import ConfigurationError, RedisLock, RedisLocks

CLIENT = redis.Redis()


def lock_of(name: str, **options: Any) -> RedisLock:
    """Return a lock that nobody asks Redis for."""
    return RedisLock(CLIENT, name, **options)


@pytest.mark.parametrize(
    ("locks", "words"),
    [
        ([], "needs at least one RedisLock"),
        ((), "needs at least one RedisLock"),
        ("abc", "needs a list of RedisLock, not str"),
        (None, "needs a list of RedisLock, not NoneType"),
        (7, "needs a list of RedisLock, not int"),
        (["abc"], "with a str in it"),
        ([None], "with a NoneType in it"),
        ([CLIENT], "with a Redis in it"),
    ],
)
def test_what_is_no_list_of_locks_is_refused(locks: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        RedisLocks(locks)


def test_a_lock_alone_and_a_list_in_a_list_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="not RedisLock"):
        RedisLocks(lock_of("a"))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="with a RedisLocks in it"):
        RedisLocks([RedisLocks([lock_of("a")])])  # type: ignore[list-item]


def test_locks_of_two_clients_are_refused_with_the_names_of_two() -> None:
    other = RedisLock(redis.Redis(db=1), "b")

    with pytest.raises(ConfigurationError, match="locks 'a' and 'b' have two clients"):
        RedisLocks([lock_of("a"), other])


def test_a_lock_that_is_held_is_refused_by_name(client: redis.Redis) -> None:
    held = RedisLock(client, "held already")
    assert held.acquire()

    with pytest.raises(ConfigurationError, match="'held already' is held already"):
        RedisLocks([RedisLock(client, "another"), held])

    assert held.release()


@pytest.mark.parametrize("wait", [-1, "5", True, float("nan")])
def test_a_wait_that_is_no_duration_is_refused(wait: Any) -> None:
    with pytest.raises(ConfigurationError, match="wait"):
        RedisLocks([lock_of("a")], wait=wait)


@pytest.mark.parametrize("timeout", [-1, "5", True])
def test_a_timeout_that_is_no_duration_is_refused(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout"):
        RedisLocks([lock_of("a")]).acquire(blocking=True, timeout=timeout)


def test_the_order_is_that_of_the_names() -> None:
    locks = RedisLocks(lock_of(name) for name in ("b", "é", "a", "B", "b", "{a}"))

    assert locks.names == ("B", "a", "b", "{a}", "é")
    assert [lock.name for lock in locks.locks] == list(locks.names)


def test_of_two_locks_of_one_name_the_one_with_the_longer_min_hold_counts() -> None:
    short, long = lock_of("a", min_hold=1), lock_of("a", min_hold=5)

    assert RedisLocks([short, long]).locks == (long,)
    assert RedisLocks([long, short]).locks == (long,)


def test_of_two_kinds_of_one_name_the_stricter_counts() -> None:
    kinds = [
        lock_of("a"),
        lock_of("a", limit=2),
        lock_of("a", shared=True, limit=3),
        lock_of("a", shared=True),
    ]

    for number, strict in enumerate(kinds):
        for lax in kinds[number:]:
            assert RedisLocks([lax, strict]).locks[0] is not lax or lax is strict
            assert RedisLocks([strict, lax]).locks == (strict,)


def test_of_two_kinds_of_one_name_none_may_lose_its_min_hold() -> None:
    window = lock_of("a", min_hold=60, limit=30)

    with pytest.raises(ConfigurationError, match="lock 'a' is given twice"):
        RedisLocks([lock_of("a"), window])


def test_what_is_shown_of_locks_that_nobody_has() -> None:
    locks = RedisLocks([lock_of("b"), lock_of("a")])

    assert repr(locks) == "<RedisLocks 'a', 'b' not held>"
    assert (locks.lost, locks.loss, locks.remaining) == (False, None, 0.0)
