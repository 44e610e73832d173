"""The common protocol: one string key, NX and PX, the token as its value; whoever speaks it is excluded."""

from __future__ import annotations

import time

import pytest
import redis
from redis.lock import Lock as RedisPyLock

from celery_redislock import RedisLock, StoreUnavailable

from ...support.arena import Arena, companion
from ...support.waiting_threads import Waiting, until_in_line

NAME = "shared with others"


def test_the_lock_is_one_string_key_with_the_token_and_an_expiry(arena: Arena) -> None:
    lock = RedisLock(arena.client, NAME, expire=5)

    assert lock.acquire()

    assert lock.token is not None
    assert arena.client.get(NAME) == lock.token.encode()
    assert 4000 < arena.client.pttl(NAME) <= 5000


def test_a_released_lock_is_a_deleted_key(arena: Arena) -> None:
    lock = RedisLock(arena.client, NAME)
    assert lock.acquire()

    assert lock.release()

    assert not arena.client.exists(NAME)
    assert not lock.locked()


def test_redis_pys_own_lock_is_excluded_by_ours(arena: Arena) -> None:
    ours, theirs = RedisLock(arena.client, NAME), RedisPyLock(arena.client, NAME, timeout=5)
    assert ours.acquire()

    assert not theirs.acquire(blocking=False)

    assert ours.release()
    assert theirs.acquire(blocking=False)


def test_ours_is_excluded_by_redis_pys_own_lock(arena: Arena) -> None:
    ours, theirs = RedisLock(arena.client, NAME), RedisPyLock(arena.client, NAME, timeout=5)
    assert theirs.acquire(blocking=False)

    assert not ours.acquire()
    assert not ours.release()
    assert theirs.owned()

    theirs.release()
    assert ours.acquire()


def test_a_waiting_redis_py_lock_gets_what_we_release(arena: Arena) -> None:
    ours = RedisLock(arena.client, NAME)
    assert ours.acquire()
    assert ours.release()

    assert RedisPyLock(arena.client, NAME, timeout=5).acquire(blocking_timeout=1)


def test_a_bare_set_nx_program_is_excluded_by_us_and_excludes_us(arena: Arena) -> None:
    lock = RedisLock(arena.client, NAME)
    assert lock.acquire()
    assert not arena.client.set(NAME, "stranger", nx=True, px=5000)
    assert lock.release()

    assert arena.client.set(NAME, "stranger", nx=True, px=5000)

    assert not lock.acquire()
    assert not lock.release()
    assert arena.client.get(NAME) == b"stranger"
    arena.client.delete(NAME)
    assert lock.acquire()


def test_a_foreign_lock_without_expiry_is_busy_too(arena: Arena) -> None:
    arena.client.set(NAME, "1")
    lock = RedisLock(arena.client, NAME)

    assert not lock.acquire()
    assert not lock.acquire(blocking=True, timeout=0.1)

    holder = lock.holder()
    assert holder is not None
    assert holder.lease_left is None


def test_a_waiter_gets_the_lock_when_a_foreign_lease_ends(arena: Arena) -> None:
    arena.client.set(NAME, "stranger", nx=True, px=500)
    began_at = time.monotonic()
    waiting = Waiting(RedisLock(arena.client, NAME))

    assert waiting.answer()

    assert 0.45 < waiting.ended_at - began_at < 1.0


def test_a_waiter_notices_a_bare_del_at_its_next_check(client: redis.Redis) -> None:
    client.set(NAME, "stranger", nx=True, px=60_000)
    waiting = Waiting(RedisLock(client, NAME))
    until_in_line(client, NAME, 1)

    client.delete(NAME)
    deleted_at = time.monotonic()

    assert waiting.answer(within=10)
    assert waiting.ended_at - deleted_at < 5


def test_a_newcomer_after_a_bare_del_does_not_overtake_those_in_line(client: redis.Redis) -> None:
    client.set(NAME, "stranger", nx=True, px=60_000)
    waiting = Waiting(RedisLock(client, NAME))
    until_in_line(client, NAME, 1)
    client.delete(NAME)

    assert not RedisLock(client, NAME).acquire()

    assert waiting.answer(within=1)


@pytest.mark.parametrize("decode_responses", [True, False])
@pytest.mark.parametrize("protocol", [2, 3])
def test_a_clients_way_of_reading_replies_does_not_matter(
    arena: Arena, decode_responses: bool, protocol: int
) -> None:
    client = arena.make_victim(decode_responses=decode_responses, protocol=protocol)
    lock = RedisLock(client, NAME, expire=1, renew=True, metadata={"who": "Zoë"})

    assert lock.acquire()
    assert lock.owned()
    assert lock.renew()
    holder = RedisLock(client, NAME).holder()
    assert holder is not None
    assert holder.metadata == {"who": "Zoë"}
    assert holder.fencing_token == lock.fencing_token
    assert not RedisLock(client, NAME).acquire(blocking=True, timeout=0.05)
    assert lock.release()


def test_a_key_that_is_no_lock_is_left_alone(arena: Arena) -> None:
    arena.client.rpush(NAME, "somebody's list")
    lock = RedisLock(arena.client, NAME)

    with pytest.raises(StoreUnavailable, match="not a lock"):
        lock.acquire()

    assert arena.client.lrange(NAME, 0, -1) == [b"somebody's list"]
    assert not arena.client.exists(companion("holder", NAME))
