"""Fencing tokens of this lock: microseconds on the server's clock, the same for all who ask Redis."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import redis

from celery_redislock import RedisLock
from celery_redislock.engine.protocol import exclusive

from ...mutants.scripts import gone_wrong
from ...support.arena import Arena, companion
from ...support.deadlines import eventually
from ...support.waiting_threads import Waiting, until_in_line

NAME = "fenced"


def grant(lock: RedisLock) -> int:
    """Take and release a lock, and return the number of that grant."""
    assert lock.acquire()
    number = lock.fencing_token
    assert lock.release()
    assert isinstance(number, int)
    return number


def remembered(client: redis.Redis) -> int:
    """Return the last number of the lock, as Redis keeps it."""
    return int(client.get(companion("holder", NAME)).split()[1])


def test_a_number_is_exact_and_fits_into_a_double(arena: Arena) -> None:
    lock = RedisLock(arena.client, NAME)
    assert lock.acquire()

    assert lock.fencing_token == remembered(arena.client)
    assert lock.fencing_token < 2**53
    microseconds = time.time() * 1e6
    assert microseconds - 60e6 < lock.fencing_token < microseconds + 60e6


def test_numbers_grow_by_one_while_the_servers_clock_stands_behind(one_arena: Arena) -> None:
    ahead = grant(RedisLock(one_arena.client, NAME)) + 10**12
    one_arena.client.set(companion("holder", NAME), f"{'a' * 32} {ahead} 0 {{}} 1")

    assert [grant(RedisLock(one_arena.client, NAME)) for _ in range(3)] == [ahead + 1, ahead + 2, ahead + 3]


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
    assert lock.fencing_token == remembered(arena.client)


# ---- the last number outlives the lock by a minute, by the server's own clock


def released(client: redis.Redis) -> None:
    """Give it back."""
    grant(RedisLock(client, NAME))


def kept_busy(client: redis.Redis) -> None:
    """Give it back before its `min_hold` is over."""
    grant(RedisLock(client, NAME, min_hold=0.05))
    eventually(lambda: client.get(NAME) is None)


def taken_by_force(client: redis.Redis) -> None:
    """Take it from its holder."""
    lock = RedisLock(client, NAME, expire=7200)
    assert lock.acquire()
    assert lock.force_release()


def expired(client: redis.Redis) -> None:
    """Let its lease end."""
    assert RedisLock(client, NAME, expire=0.05).acquire()
    eventually(lambda: client.get(NAME) is None)


def handed_over(client: redis.Redis) -> None:
    """Give it to a waiter, which gives it back."""
    lock = RedisLock(client, NAME, expire=7200)
    assert lock.acquire()
    key = companion("holder", NAME)
    token, number, *rest = client.get(key).decode().split(" ", 2)
    client.set(key, " ".join([token, str(int(number) + 10**12), *rest]), keepttl=True)
    waiting = Waiting(RedisLock(client, NAME), then=RedisLock.release)
    until_in_line(client, NAME, 1)
    assert lock.release()
    assert waiting.answer()
    eventually(lambda: client.get(NAME) is None)
    assert int(client.get(key).split()[1]) == int(number) + 10**12 + 1


def left(client: redis.Redis) -> None:
    """Undo a grant that nobody was told of."""
    lock = RedisLock(client, NAME, expire=7200)
    assert lock.acquire()
    lock._undo(str(lock.token))
    assert client.get(NAME) is None


ENDS = (released, kept_busy, taken_by_force, expired, handed_over, left)


def remembers_the_last_number(client: redis.Redis, end: Callable[[redis.Redis], None]) -> None:
    """End a holding, set the last number ahead of the clock, and compare the next."""
    end(client)
    key = companion("holder", NAME)
    token, number, *rest = client.get(key).decode().split(" ", 2)
    assert 50_000 < client.pttl(key) <= 120_000
    client.set(key, " ".join([token, str(int(number) + 10**12), *rest]), keepttl=True)
    lock = RedisLock(client, NAME)
    assert lock.acquire()
    assert lock.fencing_token == int(number) + 10**12 + 1


@pytest.mark.parametrize("end", ENDS)
def test_the_last_number_is_remembered_for_a_minute(
    one_arena: Arena, end: Callable[[redis.Redis], None]
) -> None:
    remembers_the_last_number(one_arena.client, end)


#: An end -> which script goes wrong, where it says this, and what it says instead.
WRONG = {
    released: (
        exclusive.RELEASE,
        "redis.call('DEL', lock)\n    if ARGV[6]",
        "redis.call('DEL', lock, holder)\n    if ARGV[6]",
    ),
    taken_by_force: (
        exclusive.FORCE_RELEASE,
        "redis.call('DEL', KEYS[1])",
        "redis.call('DEL', KEYS[1], KEYS[2])",
    ),
    expired: (exclusive.ACQUIRE, "ttl + RECORD_MS, 'GET'", "ttl, 'GET'"),
    handed_over: (exclusive.RELEASE, "'- ' .. last, 'KEEPTTL'", "'- 1', 'KEEPTTL'"),
    left: (exclusive.LEAVE, "redis.call('DEL', lock)", "redis.call('DEL', lock, holder)"),
}


@pytest.mark.parametrize("end", WRONG)
def test_a_number_that_goes_with_the_lock_is_caught(
    one_arena: Arena, end: Callable[[redis.Redis], None]
) -> None:
    with gone_wrong(*WRONG[end]), pytest.raises((AssertionError, AttributeError)):
        remembers_the_last_number(one_arena.client, end)
