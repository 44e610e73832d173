"""Sharing: one lock object among threads, one client among processes."""

from __future__ import annotations

import threading
from collections.abc import Callable

import redis

from celery_redislock import RedisLock

from ...support.deadlines import eventually
from .arena import Arena
from .contender import Contender
from .waiting_threads import Waiting, until_in_line

NAME = "shared"


def test_an_object_that_holds_the_lock_finds_it_busy_like_anyone_else(one_arena: Arena) -> None:
    lock = RedisLock(one_arena.client, NAME)
    assert lock.acquire()
    token = lock.token

    assert not lock.acquire()
    assert not lock.acquire(blocking=True, timeout=0.05)

    assert lock.token == token
    assert lock.owned()
    assert lock.release()
    assert not one_arena.client.exists(NAME)


def test_threads_that_share_one_object_exclude_each_other(arena: Arena) -> None:
    lock, inside, most, rounds = RedisLock(arena.client, NAME, expire=30), [0], [0], [0]
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(20):
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    rounds[0] += 1
                    inside[0] -= 1
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failed
    assert (most, rounds) == ([1], [120])
    assert not arena.client.exists(NAME)


def test_a_thread_that_waits_on_a_shared_object_takes_over_from_the_one_that_releases(
    one_arena: Arena,
) -> None:
    lock = RedisLock(one_arena.client, NAME)
    assert lock.acquire()
    first = lock.token
    waiting = Waiting(lock)
    until_in_line(one_arena.client, NAME, 1)

    assert lock.release()

    assert waiting.answer()
    assert lock.token not in (None, first)
    assert lock.owned()
    assert lock.release()


def test_of_many_threads_one_gets_a_free_lock(arena: Arena) -> None:
    locks = [RedisLock(arena.client, NAME) for _ in range(20)]
    start, got = threading.Barrier(20), []

    def race(lock: RedisLock) -> None:
        start.wait()
        got.append(lock.acquire())

    threads = [threading.Thread(target=race, args=(lock,)) for lock in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(got) == [False] * 19 + [True]


def test_a_fork_leaves_the_parents_lock_alone_and_renews_the_childs_own(
    client: redis.Redis, contend: Callable[..., Contender]
) -> None:
    parent = contend(NAME, expire=0.6, renew=True)
    assert parent.ask("acquire")
    eventually(lambda: client.pttl(NAME) < 450)
    token = client.get(NAME)

    assert parent.ask("fork") == 0, "the child could not keep a lock of its own"

    assert client.get(NAME) == token
    assert not parent.ask("lost")
    assert parent.ask("owned")
    assert parent.ask("release")


def test_the_users_own_connections_are_left_alone(one_arena: Arena) -> None:
    own = one_arena.make_victim(single_connection_client=True, client_name="own", decode_responses=True)
    assert own.ping()
    waiting = [Waiting(RedisLock(own, NAME), timeout=0.3) for _ in range(5)]

    assert [waiter.answer() for waiter in waiting].count(True) == 1

    assert own.ping()
    assert own.client_getname() == "own"
