"""The lock on fakeredis: users test their own code without a server."""

from __future__ import annotations

import threading

import fakeredis
import pytest
import redis

from celery_redislock import LockBusy, LockLost, RedisLock, StoreUnavailable

NAME = "faked"


def test_a_lock_is_taken_renewed_and_released(fake_client: redis.Redis) -> None:
    first, second = (RedisLock(fake_client, NAME, metadata={"host": "a"}) for _ in range(2))

    assert first.acquire()
    assert not second.acquire()
    assert first.renew()
    assert first.owned()
    assert not second.owned()
    holder = second.holder()
    assert holder is not None
    assert (holder.metadata, holder.fencing_token) == ({"host": "a"}, first.fencing_token)
    assert first.release()
    assert not first.release()
    assert not second.locked()


def test_a_waiter_is_woken_by_the_release(fake_client: redis.Redis) -> None:
    lock, waiter = RedisLock(fake_client, NAME), RedisLock(fake_client, NAME)
    assert lock.acquire()
    waiting = threading.Thread(target=waiter.acquire, args=(True, 10))
    waiting.start()

    assert lock.release()
    waiting.join(3)

    assert waiter.owned()


def test_a_wait_ends(fake_client: redis.Redis) -> None:
    assert RedisLock(fake_client, NAME).acquire()

    with pytest.raises(LockBusy), RedisLock(fake_client, NAME, wait=0.05):
        pass


def test_fencing_tokens_grow_when_all_data_is_lost(fake_client: redis.Redis) -> None:
    numbers = []
    for _ in range(20):
        lock = RedisLock(fake_client, NAME)
        assert lock.acquire()
        numbers.append(lock.fencing_token)
        fake_client.flushall()

    assert numbers == sorted(set(numbers))


def test_a_former_owner_can_neither_release_nor_renew(fake_client: redis.Redis) -> None:
    former, owner = (RedisLock(fake_client, NAME) for _ in range(2))
    assert former.acquire()
    fake_client.delete(NAME)
    assert owner.acquire()

    assert not former.renew()
    assert not former.release()

    assert former.lost
    assert owner.owned()


def test_a_loss_is_told_when_with_is_left(fake_client: redis.Redis) -> None:
    with pytest.raises(LockLost), RedisLock(fake_client, NAME):
        fake_client.delete(NAME)


def test_min_hold_keeps_a_released_lock_busy(fake_client: redis.Redis) -> None:
    lock = RedisLock(fake_client, NAME, min_hold=60)
    assert lock.acquire()

    assert lock.release()

    assert not lock.acquire()
    assert lock.force_release()
    assert lock.acquire()


def test_an_outage_is_told() -> None:
    server = fakeredis.FakeServer(version=(7,))
    server.connected = False
    with fakeredis.FakeRedis(server=server) as client, pytest.raises(StoreUnavailable) as told:
        RedisLock(client, NAME).acquire()

    assert isinstance(told.value.__cause__, redis.ConnectionError)


def test_two_clients_of_one_fake_server_share_its_locks() -> None:
    server = fakeredis.FakeServer(version=(7,))
    with (
        fakeredis.FakeRedis(server=server) as one,
        fakeredis.FakeRedis(server=server, decode_responses=True) as other,
    ):
        assert RedisLock(one, NAME).acquire()
        assert not RedisLock(other, NAME).acquire()
