"""Fencing tokens of this lock: microseconds on the server's clock, the same for all who ask Redis."""

from __future__ import annotations

import time

from celery_redislock import RedisLock

from ...support.arena import Arena, companion

NAME = "fenced"


def grant(one_arena: Arena, expire: float = 10) -> int:
    """Take and release the lock, and return the number of that grant."""
    lock = RedisLock(one_arena.client, NAME, expire=expire)
    assert lock.acquire()
    number = lock.fencing_token
    assert lock.release()
    assert isinstance(number, int)
    return number


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


def test_a_renewal_keeps_the_number_that_others_see(one_arena: Arena) -> None:
    lock = RedisLock(one_arena.client, NAME)
    assert lock.acquire()
    number = lock.fencing_token

    assert lock.renew()

    assert lock.fencing_token == number
    holder = lock.holder()
    assert holder is not None
    assert holder.fencing_token == number


def test_a_lost_reply_of_acquire_gives_the_number_that_redis_keeps(arena: Arena) -> None:
    lock = RedisLock(arena.victim, NAME)
    arena.proxy.swallow_replies(1, matching=NAME.encode())

    assert lock.acquire()

    assert arena.proxy.fired == 1
    assert lock.fencing_token == int(arena.client.get(companion("fence", NAME)))
