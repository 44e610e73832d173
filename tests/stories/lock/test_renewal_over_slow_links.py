"""Renewal over slow links: kept for as long as a round trip fits several times into a third of a lease."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from uuid import uuid4

import pytest
import redis

from celery_redislock import RedisLock
from celery_redislock.engine.group_lease import Member

from ...support.deadlines import eventually
from ...support.proxy import Proxy
from ...support.servers import Server

#: Length of a lease and delay in each direction, seconds: a round trip takes twice that, a fifth of the time
#: between two renewals. A busy machine stands still for longer than a lease of a second allows.
LINKS = ((2, 0.06), (3, 0.1), (10, 0.3))


@pytest.fixture
def behind(server: Server) -> Iterator[Callable[[float], redis.Redis]]:
    """Make clients behind links that take so long in each direction."""
    with ExitStack() as stack:

        def make(delay_s: float) -> redis.Redis:
            proxy = stack.enter_context(Proxy(server.port))
            proxy.delay(replies=delay_s, requests=delay_s)
            client = redis.Redis(port=proxy.port)
            stack.callback(client.close)
            return client

        yield make


def kept_until(ends_at: float, *locks: RedisLock) -> None:
    """Compare locks again and again with ones that are held."""

    def is_over() -> bool:
        for lock in locks:
            lock.ensure_held()
        return time.monotonic() > ends_at

    eventually(is_over, within=30)


def test_a_renewed_lock_outlives_its_lease_over_a_slow_link(
    behind: Callable[[float], redis.Redis], client: redis.Redis
) -> None:
    locks = []
    for expire, delay_s in LINKS:
        lock = RedisLock(behind(delay_s), f"slow:{expire}", expire, renew=True)
        assert lock.acquire(blocking=True, timeout=5)
        locks.append(lock)

    kept_until(time.monotonic() + 11, *locks)

    assert all(client.exists(lock.name) for lock in locks)


def test_short_leases_of_the_same_client_cost_a_long_one_nothing(
    behind: Callable[[float], redis.Redis],
) -> None:
    """They are taken again and again, and always lost: no round trip fits into a third of them."""
    slow = behind(0.03)
    lock = RedisLock(slow, "long", 5, renew=True)
    assert lock.acquire(blocking=True, timeout=5)
    short = [RedisLock(slow, f"short:{number}", 0.1, renew=True) for number in range(5)]
    ends_at = time.monotonic() + 5.5

    while time.monotonic() < ends_at:
        for each in short:
            with suppress(redis.RedisError):
                each.acquire()
        lock.ensure_held()

    kept_until(time.monotonic() + 0.5, lock)


def test_a_member_of_a_batch_is_renewed_over_a_slow_link(
    behind: Callable[[float], redis.Redis], client: redis.Redis
) -> None:
    slow, token = behind(0.06), uuid4().hex
    assert RedisLock(slow, "batch", 2).attempt(token=token) is None
    member = Member(slow, "batch", token, uuid4().hex)
    assert member.run(2000, {})

    ends_at = time.monotonic() + 4
    eventually(lambda: time.monotonic() > ends_at)

    assert member.loss is None
    assert client.exists("batch")
