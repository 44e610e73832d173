"""`min_replicas`: what counts only when replicas know it, and what can happen without it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
import redis

from celery_redislock import ConfigurationError, RedisLock, StoreUnavailable
from celery_redislock.config.client import client_from_url

from ...support.deadlines import eventually
from ...support.proxy import Proxy
from ...support.topologies import FAILOVER_WITHIN, Replicated
from ...support.waiting_threads import Waiting
from .conftest import Topology

#: Longer than any test.
LONG = 90.0


@contextmanager
def replicas_away(topology: Topology, name: str) -> Iterator[None]:
    """Stop the replicas of a lock's master in mid-air."""
    replicas = topology.replicas(name)
    for replica in replicas:
        replica.pause()
    try:
        yield
    finally:
        for replica in replicas:
            replica.resume()


@pytest.fixture
def name() -> str:
    """Give a lock of the test's own."""
    return f"lock {uuid4().hex}"


@pytest.fixture
def client(topology: Topology) -> Any:
    """Give a client of both topologies."""
    return client_from_url(topology.url, setting="redislock_url")


def test_a_grant_that_too_few_replicas_acknowledge_is_none(
    topology: Topology, name: str, client: Any
) -> None:
    lock, other = RedisLock(client, name, expire=LONG, min_replicas=1), RedisLock(client, name)
    with replicas_away(topology, name):
        with pytest.raises(StoreUnavailable, match="0 replicas acknowledged it, but min_replicas is 1"):
            lock.acquire()

        assert lock.token is None
        assert not lock.lost
        assert other.acquire(), "it should have been released"
        assert other.release()

    eventually(lambda: topology.is_whole(), FAILOVER_WITHIN)
    assert lock.acquire()
    assert lock.release()


def test_more_replicas_than_there_are_never_acknowledge(topology: Topology, name: str, client: Any) -> None:
    lock = RedisLock(client, name, min_replicas=3)

    with pytest.raises(StoreUnavailable, match="but min_replicas is 3"):
        lock.acquire()
    assert not lock.locked()


def test_a_waiter_gets_the_lock_when_the_replicas_are_back(
    topology: Topology, name: str, client: Any
) -> None:
    lock = RedisLock(client, name, expire=LONG, min_replicas=1)
    with replicas_away(topology, name):
        waiting = Waiting(lock, timeout=60)
        waiting.join(2)
        assert waiting.is_alive(), "it should go on waiting"

    assert waiting.answer(within=60)
    assert lock.release()


def test_a_renewal_that_too_few_replicas_acknowledge_does_not_count(
    topology: Topology, name: str, client: Any
) -> None:
    lock = RedisLock(client, name, expire=1, renew=True, min_replicas=1)
    careless = RedisLock(client, name + " careless", expire=1, renew=True)
    assert lock.acquire()
    assert careless.acquire()
    with replicas_away(topology, name):
        eventually(lambda: lock.lost, 10, "it should be lost")
        assert not careless.lost

    # Redis looks ten times a second whether a WAIT is over: near the end of the lease that may be too late.
    reasons = ("but min_replicas is 1", "it could not be renewed", "lease ran out")
    assert any(reason in str(lock.loss) for reason in reasons)
    assert careless.release()


def test_what_no_replica_knew_is_forgotten_by_a_failover(replicated: Replicated, name: str) -> None:
    """Why there is `min_replicas`: both believe that they hold the lock; only the numbers tell."""
    client = replicated.client()
    careless, next_one = (RedisLock(client, name, expire=LONG) for _ in range(2))
    old = replicated.master()
    with replicas_away(replicated, name):
        with old.client() as master:  # or what lies in their sockets reaches them later
            master.execute_command("CLIENT", "KILL", "TYPE", "replica")
        assert careless.acquire()
        number = careless.fencing_token
        old.kill()
    eventually(lambda: replicated.master() is not old, FAILOVER_WITHIN, "a replica should take over")
    replicated.join_again(old)

    assert next_one.acquire(blocking=True, timeout=5)

    assert not careless.lost
    assert number is not None
    assert next_one.fencing_token is not None
    assert next_one.fencing_token > number
    assert not careless.renew()
    assert careless.lost
    assert next_one.release()


def test_a_grant_and_its_acknowledgements_take_one_round_trip(replicated: Replicated, name: str) -> None:
    round_trip_s = 1.0
    with Proxy(replicated.master().port) as proxy, redis.Redis(port=proxy.port) as client:
        lock = RedisLock(client, name, expire=LONG, min_replicas=2)
        assert lock.acquire()  # the script is known, the connection open
        assert lock.release()
        proxy.delay(replies=round_trip_s)
        began = time.monotonic()

        assert lock.acquire()

        assert round_trip_s <= time.monotonic() - began < 2 * round_trip_s
        proxy.delay(replies=0)
        assert lock.release()


@pytest.mark.parametrize("wrong", [-1, 1.0, True, "1", None])
def test_a_wrong_number_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="min_replicas must be a whole number"):
        RedisLock(redis.Redis(), "name", min_replicas=wrong)
