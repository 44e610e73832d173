"""Outages: what keeps Redis from serving is `StoreUnavailable`, says why, and takes no longer than told."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from celery_redislock import RedisLock, StoreUnavailable

from ...support.arena import Arena
from ...support.servers import Server, free_port
from ...support.waiting_threads import Waiting, until_in_line
from .contender import Contender

NAME = "unavailable"

PASSWORD = "s3cret-p4ss"

#: No single call waits longer for an unreachable server, seconds; and what two busy cores add.
LONGEST, SLACK = 5.0, 0.5


def assert_unavailable(lock: RedisLock, words: str) -> None:
    """Ask for the lock in vain, and compare what the error tells."""
    with pytest.raises(StoreUnavailable, match=words) as refused:
        lock.acquire()

    assert refused.value.name == NAME
    assert NAME in str(refused.value)
    assert isinstance(refused.value.__cause__, redis.RedisError | OSError)
    error: BaseException | None = refused.value
    while error is not None:
        assert PASSWORD not in f"{error} {error!r}"
        error = error.__context__
    assert lock.token is None


@pytest.fixture
def nowhere() -> Iterator[redis.Redis]:
    """Give a client of a port on which nobody listens."""
    with redis.Redis(port=free_port()) as client:
        yield client


def test_a_refused_connection_is_told_at_once(nowhere: redis.Redis) -> None:
    began_at = time.monotonic()

    assert_unavailable(RedisLock(nowhere, NAME), "reached")

    assert time.monotonic() - began_at < LONGEST


def test_no_verb_waits_longer_than_five_seconds_for_a_silent_server(one_arena: Arena) -> None:
    clients = [one_arena.make_victim(socket_timeout=timeout) for timeout in (None, 60)]
    held = [RedisLock(clients[0], f"{NAME} {n}") for n in range(4)]
    assert all(lock.acquire() for lock in held)
    one_arena.proxy.blackhole()
    verbs: list[Callable[[], object]] = [
        *(RedisLock(client, NAME).acquire for client in clients),
        held[0].release,
        held[1].renew,
        held[2].owned,
        held[2].locked,
        held[2].holder,
        held[3].force_release,
    ]
    took: list[float] = []

    def measure(verb: Callable[[], object]) -> None:
        began_at = time.monotonic()
        with pytest.raises(StoreUnavailable, match="does not answer"):
            verb()
        took.append(time.monotonic() - began_at)

    threads = [threading.Thread(target=measure, args=(verb,)) for verb in verbs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(took) == len(verbs)
    assert max(took) < LONGEST + SLACK


def test_a_blocking_acquire_goes_on_until_its_timeout(nowhere: redis.Redis) -> None:
    began_at = time.monotonic()

    with pytest.raises(StoreUnavailable):
        RedisLock(nowhere, NAME).acquire(blocking=True, timeout=1)

    assert 0.95 < time.monotonic() - began_at < 1 + SLACK


def test_a_timeout_is_kept_although_the_server_is_silent(one_arena: Arena) -> None:
    one_arena.proxy.blackhole()
    took = []
    for _ in range(3):
        began_at = time.monotonic()
        with pytest.raises(StoreUnavailable):
            RedisLock(one_arena.victim, NAME).acquire(blocking=True, timeout=0.5)
        took.append(time.monotonic() - began_at)

    assert abs(statistics.median(took) - 0.5) < 0.15


def test_a_blocking_acquire_succeeds_when_redis_comes_back_before_its_timeout(
    own_server: Server,
) -> None:
    with own_server.client() as client:
        own_server.kill()
        waiting = Waiting(RedisLock(client, NAME), timeout=20)
        waiting.join(0.7)
        assert waiting.is_alive()

        own_server.start()

        assert waiting.answer(within=3)
        assert waiting.lock.owned()


def test_a_waiter_in_line_survives_an_outage(own_server: Server) -> None:
    with own_server.client() as client:
        holder = RedisLock(client, NAME, expire=60)
        assert holder.acquire()
        waiting = Waiting(RedisLock(client, NAME), timeout=20)
        until_in_line(client, NAME, 1)

        own_server.restart(keep_data=True)
        assert holder.release()

        assert waiting.answer(within=3)


def test_without_a_timeout_an_acquire_gives_up_when_redis_was_away_for_a_lease(
    nowhere: redis.Redis,
) -> None:
    began_at = time.monotonic()

    with pytest.raises(StoreUnavailable):
        RedisLock(nowhere, NAME, expire=1).acquire(blocking=True)

    assert 0.95 < time.monotonic() - began_at < 1 + 1.5


def test_without_a_timeout_a_silent_server_is_given_up_after_a_lease_and_a_call(
    one_arena: Arena,
) -> None:
    one_arena.proxy.blackhole()
    lock = RedisLock(one_arena.victim, NAME, expire=0.5)
    began_at = time.monotonic()

    with pytest.raises(StoreUnavailable):
        lock.acquire(blocking=True)

    assert time.monotonic() - began_at < 0.5 + LONGEST + 1 + SLACK


def test_an_interrupted_waiter_is_not_kept_by_a_silent_server(
    one_arena: Arena, contend: Callable[..., Contender]
) -> None:
    contender = contend(NAME, port=one_arena.proxy.port)
    assert contender.ask("ping")
    one_arena.proxy.blackhole()
    began_at = time.monotonic()

    assert contender.ask("acquire", blocking=True, timeout=30, alarm=0.3) == "interrupted"

    assert time.monotonic() - began_at < 0.3 + LONGEST


def test_a_replica_is_told_as_such(own_server: Server) -> None:
    with own_server.client() as client:
        client.replicaof("127.0.0.1", free_port())

        assert_unavailable(RedisLock(client, NAME), "the URL names a replica")


def test_a_blocking_acquire_succeeds_when_the_replica_is_promoted(server: Server) -> None:
    with Server(server.kind) as replica, replica.client() as client:
        client.replicaof("127.0.0.1", server.port)
        waiting = Waiting(RedisLock(client, NAME), timeout=20)
        waiting.join(0.3)
        assert waiting.is_alive()

        client.replicaof("NO", "ONE")

        assert waiting.answer(within=3)


def test_a_server_without_enough_replicas_is_told_as_such(own_server: Server) -> None:
    with own_server.client() as client:
        client.config_set("min-replicas-to-write", 1)

        assert_unavailable(RedisLock(client, NAME), "too few replicas")


def test_a_full_server_is_told_as_such(own_server: Server) -> None:
    with own_server.client() as client:
        client.config_set("maxmemory", 1)

        assert_unavailable(RedisLock(client, NAME), "at its maxmemory limit")


def test_a_loading_server_is_told_as_such_and_waited_for(server: Server) -> None:
    # A server that takes its time for each key, and answers between two.
    slow = ("--key-load-delay", "30000", "--loading-process-events-interval-bytes", "1024")
    with Server(server.kind, options=slow) as loading, loading.client() as client:
        for n in range(70):
            client.set(f"key {n}", "x" * 2000)
        client.config_set("rdbcompression", "no")
        loading.restart(keep_data=True)
        assert client.info("persistence")["loading"]

        assert_unavailable(RedisLock(client, NAME), "is loading its data")
        assert RedisLock(client, NAME).acquire(blocking=True, timeout=10)


def test_a_wrong_password_is_told_as_such_and_not_shown(server: Server) -> None:
    with Server(server.kind, password="another") as own:
        with redis.Redis(port=own.port, password=PASSWORD) as client:
            began_at = time.monotonic()
            assert_unavailable(RedisLock(client, NAME), "password is wrong, or missing")
            assert time.monotonic() - began_at < 1
        with redis.Redis(port=own.port) as client:
            assert_unavailable(RedisLock(client, NAME), "password is wrong, or missing")


@pytest.mark.parametrize(
    "rules", [("+@all", "-evalsha", "~*"), ("+@all", "~other:*")], ids=["command", "key"]
)
def test_a_missing_right_is_told_as_such(own_server: Server, rules: tuple[str, ...]) -> None:
    with own_server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "ann", "on", f">{PASSWORD}", *rules)
    with redis.Redis(port=own_server.port, username="ann", password=PASSWORD) as client:
        assert_unavailable(RedisLock(client, NAME), "ACL")


def test_a_with_that_cannot_release_keeps_the_bodys_result(one_arena: Arena) -> None:
    with RedisLock(one_arena.victim, NAME, expire=30):
        one_arena.proxy.cut()

    one_arena.proxy.heal()
    assert one_arena.client.exists(NAME)


def test_a_release_that_failed_can_be_done_again(one_arena: Arena) -> None:
    lock = RedisLock(one_arena.victim, NAME)
    assert lock.acquire()
    one_arena.proxy.cut()
    with pytest.raises(StoreUnavailable):
        lock.release()
    one_arena.proxy.heal()

    assert lock.release()

    assert not one_arena.client.exists(NAME)
