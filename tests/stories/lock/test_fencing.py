"""Fencing tokens: numbers that only ever grow, so that a store can refuse a former holder's writes."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from celery_redislock import RedisLock

from ...support.deadlines import eventually
from .arena import Arena, companion
from .waiting_threads import Waiting, until_in_line

NAME = "fenced"


def grant(one_arena: Arena, expire: float = 10) -> int:
    """Take and release the lock, and return the number of that grant."""
    lock = RedisLock(one_arena.client, NAME, expire=expire)
    assert lock.acquire()
    number = lock.fencing_token
    assert lock.release()
    assert isinstance(number, int)
    return number


def test_a_thousand_grants_as_fast_as_possible_get_growing_numbers(arena: Arena) -> None:
    numbers = [grant(arena) for _ in range(1000)]

    assert numbers == sorted(set(numbers))


def test_a_number_is_exact_and_fits_into_a_double(arena: Arena) -> None:
    lock = RedisLock(arena.client, NAME)
    assert lock.acquire()

    assert lock.fencing_token == int(arena.client.get(companion("fence", NAME)))
    assert lock.fencing_token < 2**53
    microseconds = time.time() * 1e6
    assert microseconds - 60e6 < lock.fencing_token < microseconds + 60e6


def test_numbers_grow_by_one_while_the_servers_clock_stands_behind(one_arena: Arena) -> None:
    ahead = grant(one_arena) + 10**12
    one_arena.client.set(companion("fence", NAME), ahead)

    assert [grant(one_arena) for _ in range(3)] == [ahead + 1, ahead + 2, ahead + 3]


def end_lease(arena: Arena) -> None:
    """Let the lease end, sooner than it would."""
    arena.client.pexpire(NAME, 1)
    eventually(lambda: not arena.client.exists(NAME))


@pytest.mark.parametrize(
    "lose",
    [
        lambda arena: arena.client.delete(NAME),
        lambda arena: arena.client.delete(NAME, companion("fence", NAME)),
        lambda arena: arena.client.flushall(),
        end_lease,
    ],
    ids=["lock deleted", "fence deleted", "all data lost", "lease ended"],
)
def test_numbers_grow_over_every_kind_of_loss(arena: Arena, lose: Callable[[Arena], object]) -> None:
    numbers = []
    for _ in range(10):
        lock = RedisLock(arena.client, NAME)
        assert lock.acquire()
        numbers.append(lock.fencing_token)
        lose(arena)

    assert None not in numbers
    assert numbers == sorted(set(numbers))


def test_a_waiter_that_takes_over_has_a_larger_number_than_the_one_before(arena: Arena) -> None:
    first, second = (RedisLock(arena.client, NAME) for _ in range(2))
    assert first.acquire()
    before = first.fencing_token
    waiting = Waiting(second)
    until_in_line(arena.client, NAME, 1)
    assert first.release()

    assert waiting.answer()

    assert second.fencing_token is not None
    assert before is not None
    assert second.fencing_token > before


def test_a_renewal_keeps_the_number(one_arena: Arena) -> None:
    lock = RedisLock(one_arena.client, NAME)
    assert lock.acquire()
    number = lock.fencing_token

    assert lock.renew()

    assert lock.fencing_token == number
    holder = lock.holder()
    assert holder is not None
    assert holder.fencing_token == number


def test_the_number_is_known_only_while_the_lock_is_held(one_arena: Arena) -> None:
    lock = RedisLock(one_arena.client, NAME)
    assert (lock.token, lock.fencing_token) == (None, None)
    assert lock.acquire()
    assert None not in (lock.token, lock.fencing_token)

    assert lock.release()

    assert (lock.token, lock.fencing_token) == (None, None)
    assert not lock.lost
