"""Renewal: one thread and one connection keep every lock of a client, and drop what was dropped."""

from __future__ import annotations

import gc
import math
import threading
import time
from collections.abc import Callable
from unittest import mock

import pytest
import redis

from celery_redislock import RedisLock
from celery_redislock.engine.lease import renewal

from ...support.arena import Arena
from ...support.deadlines import eventually
from ...support.proxy import Proxy
from ...support.servers import Server
from ...support.waiting_threads import Waiting, until_in_line

NAME = "renewed"


def seconds_pass(seconds: float) -> Callable[[], bool]:
    """Return a question that is answered with yes after so many seconds."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def renewal_threads() -> set[threading.Thread]:
    """Return the threads that renew."""
    return {thread for thread in threading.enumerate() if thread.name == "redislock-renewal"}


def connections(client: redis.Redis) -> int:
    """Count the connections that the server has."""
    return int(client.info("clients")["connected_clients"])


def test_a_renewed_lock_is_kept_far_beyond_its_lease(arena: Arena) -> None:
    lock = RedisLock(arena.client, NAME, expire=0.2, renew=True)
    assert lock.acquire()

    eventually(seconds_pass(0.8))

    lock.ensure_held()
    assert lock.owned()
    assert lock.remaining > 0.05
    assert lock.release()


def test_a_lock_that_is_not_renewed_ends_with_its_lease(one_arena: Arena) -> None:
    lock = RedisLock(one_arena.client, NAME, expire=0.2)
    assert lock.acquire()

    eventually(lambda: not one_arena.client.exists(NAME), within=1)

    assert lock.lost


def test_a_renewal_by_hand_starts_a_full_lease(arena: Arena) -> None:
    lock = RedisLock(arena.client, NAME, expire=5)
    assert lock.acquire()
    arena.client.pexpire(NAME, 500)

    assert lock.renew()

    assert arena.client.pttl(NAME) > 4000
    assert lock.remaining > 4


def test_the_thread_sleeps_beside_a_lock_that_is_renewed_by_hand(one_arena: Arena) -> None:
    """It watches the lease to its end, which is another by then."""
    lock = RedisLock(one_arena.client, NAME, expire=2, on_lost=lambda _: None)
    assert lock.acquire()
    thread = lock._renewal
    assert thread is not None
    eventually(seconds_pass(1.2))
    assert lock.renew()

    eventually(seconds_pass(0.9))

    eventually(lambda: thread._wakes_at < math.inf, within=1)
    lock.ensure_held()
    assert lock.release()


def test_a_released_lock_is_renewed_no_more(one_arena: Arena) -> None:
    lock = RedisLock(one_arena.client, NAME, expire=0.2, renew=True)
    assert lock.acquire()
    assert lock.release()
    successor = RedisLock(one_arena.client, NAME, expire=0.5)
    assert successor.acquire()

    eventually(lambda: not one_arena.client.exists(NAME), within=1.5)

    assert not lock.lost


def test_a_lock_that_was_dropped_frees_itself(one_arena: Arena) -> None:
    lost: list[RedisLock] = []
    lock = RedisLock(one_arena.client, NAME, expire=0.3, renew=True, on_lost=lost.append)
    assert lock.acquire()
    eventually(seconds_pass(0.5))
    assert lock.owned()

    del lock
    gc.collect()  # redis-py 5.0 keeps the frames of a call whose script the server did not know in a cycle

    eventually(lambda: not one_arena.client.exists(NAME), within=0.6)
    assert not lost


def keep(client: redis.Redis, count: int, ttl: float, seconds: float) -> None:
    """Hold so many locks for so long; all must be kept, by two threads and connections at most."""
    locks = [RedisLock(client, f"{NAME} {n}", expire=ttl, renew=True) for n in range(count)]
    threads, open_connections = threading.active_count(), connections(client)
    assert all(lock.acquire() for lock in locks)
    passed = seconds_pass(seconds)
    most_threads = most_connections = 0

    while not passed():
        most_threads = max(most_threads, threading.active_count())
        most_connections = max(most_connections, connections(client))
        assert not [lock for lock in locks if lock.lost]
        eventually(seconds_pass(0.1))

    assert all(lock.owned() for lock in locks)
    assert most_threads <= threads + 2
    assert most_connections <= open_connections + 2
    assert all(lock.release() for lock in locks)


def test_three_hundred_locks_are_kept_by_one_thread(client: redis.Redis) -> None:
    keep(client, count=300, ttl=1, seconds=4)


@pytest.mark.slow
def test_a_thousand_locks_are_kept_for_half_a_minute_by_one_thread(client: redis.Redis) -> None:
    keep(client, count=1000, ttl=5, seconds=30)


def test_renewals_of_many_locks_share_their_round_trips(one_arena: Arena) -> None:
    locks = [RedisLock(one_arena.victim, f"{NAME} {n}", expire=0.6, renew=True) for n in range(50)]
    assert all(lock.acquire() for lock in locks)
    before = len(one_arena.proxy.requests)

    eventually(seconds_pass(1))

    # One every 0.2 s, and two or three while those taken at different times find together.
    assert 3 <= len(one_arena.proxy.requests) - before <= 15
    assert all(lock.release() for lock in locks)


def test_the_thread_and_its_connection_go_when_there_is_nothing_to_renew(
    client_factory: Callable[..., redis.Redis], client: redis.Redis
) -> None:
    before, threads_before = connections(client), renewal_threads()
    with mock.patch.object(renewal, "IDLE_S", 0.1):
        lock = RedisLock(client_factory(), NAME, expire=0.3, renew=True)
        assert lock.acquire()
        eventually(seconds_pass(0.2))
        (started,) = renewal_threads() - threads_before
        assert lock.release()
        eventually(lambda: not started.is_alive(), within=2)

    # The one that is left sends `acquire` and `release`.
    assert connections(client) <= before + 1
    assert lock.acquire()
    assert lock.release()


def test_clients_that_come_and_go_leave_no_connection_behind(client: redis.Redis) -> None:
    before = connections(client)
    port = client.connection_pool.connection_kwargs["port"]
    with mock.patch.object(renewal, "IDLE_S", 0.1):
        for n in range(10):
            with redis.Redis(port=port) as passing, RedisLock(passing, f"{NAME} {n}", renew=True):
                assert passing.ping()
        del passing

        def all_are_gone() -> bool:
            gc.collect()
            return connections(client) <= before

        eventually(all_are_gone, within=5)


def test_renewal_survives_a_script_flush(arena: Arena) -> None:
    lock = RedisLock(arena.client, NAME, expire=0.3, renew=True)
    assert lock.acquire()

    for _ in range(4):
        arena.client.script_flush()
        eventually(seconds_pass(0.2))

    assert lock.owned()
    assert not lock.lost
    assert lock.release()


def test_renewal_survives_a_restart_that_is_shorter_than_the_lease(own_server: Server) -> None:
    with own_server.client() as client:
        lock = RedisLock(client, NAME, expire=1.5, renew=True)
        assert lock.acquire()

        own_server.restart(keep_data=True)
        eventually(seconds_pass(1.7))

        assert lock.owned()
        assert not lock.lost
        assert lock.release()


@pytest.mark.parametrize("fault", ["swallow_replies", "drop_connection_after_request"])
def test_a_renewal_whose_reply_is_lost_costs_nothing(one_arena: Arena, fault: str) -> None:
    lock = RedisLock(one_arena.victim, NAME, expire=0.6, renew=True)
    assert lock.acquire()
    for _ in range(2):
        fired = one_arena.proxy.fired
        getattr(one_arena.proxy, fault)(1, matching=NAME.encode())
        eventually(lambda fired=fired: one_arena.proxy.fired > fired, within=2)
        eventually(lambda: lock.remaining > 0.5, within=2)

    eventually(seconds_pass(0.7))

    assert lock.owned()
    assert not lock.lost
    assert lock.release()


def test_a_client_that_hangs_does_not_starve_the_locks_of_another(client: redis.Redis, proxy: Proxy) -> None:
    hanging = redis.Redis(port=proxy.port)
    with hanging:
        victims = [RedisLock(hanging, f"hanging {n}", expire=0.6, renew=True) for n in range(3)]
        healthy = [RedisLock(client, f"healthy {n}", expire=0.6, renew=True) for n in range(3)]
        assert all(lock.acquire() for lock in [*victims, *healthy])

        proxy.blackhole()
        eventually(lambda: all(lock.lost for lock in victims), within=1.5)
        eventually(seconds_pass(1))

        assert all(lock.owned() and not lock.lost for lock in healthy)
        assert all(lock.release() for lock in healthy)


def test_a_renewal_that_comes_late_does_not_bring_back_what_was_released(one_arena: Arena) -> None:
    lock = RedisLock(one_arena.victim, NAME, expire=0.6, renew=True)
    successor = RedisLock(one_arena.client, NAME, expire=60)
    assert lock.acquire()
    waiting = Waiting(successor)
    until_in_line(one_arena.client, NAME, 1)
    # The renewal is on its way when the lock is given back on another connection.
    requests = len(one_arena.proxy.requests)
    one_arena.proxy.delay(requests=0.3)
    eventually(lambda: len(one_arena.proxy.requests) > requests, within=2)
    one_arena.proxy.delay()

    assert lock.release()

    assert waiting.answer()
    eventually(seconds_pass(0.5))
    assert successor.owned()
    assert not lock.lost
