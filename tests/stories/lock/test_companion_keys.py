"""Companion keys: in the lock's own slot whatever its name, and gone soon after the lock."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
import redis

from celery_redislock import RedisLock

from ...support.arena import Arena, companion
from ...support.deadlines import eventually
from ...support.servers import Server, free_port
from ...support.waiting_threads import Waiting, until_in_line
from .contender import Contender

NAME = "with companions"

TWO_MINUTES_MS, HOUR_MS = 120_000, 3_600_000

#: What Redis needs besides to let a key end: an entry of another table, which MEMORY USAGE does not count.
EXPIRY_BYTES = 24

NASTY_NAMES = [
    "a",
    "{a}",
    "a{b",
    "a}b",
    "a{b}",
    "a{b}c{d}",
    "}{",
    "{}",
    "{}x",
    "{}{a}",
    "{{a}}",
    "a{b}}",
    "a\0b",
    " a b\n",
    "*?[a]\\",
    "名前{锁}",
    "x" * 1024,
    "{" + "x" * 1022 + "}",
]


@pytest.fixture
def cluster(server: Server) -> Iterator[redis.Redis]:
    """Give a cluster of one node, which refuses scripts over two slots like any other."""
    # The bus would listen 10,000 ports higher, which may be none.
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with Server(server.kind, options=options) as node, node.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        eventually(lambda: b"cluster_state:ok" in raw(client, "CLUSTER", "INFO"))
        yield client


def raw(client: redis.Redis, *command: str) -> bytes:
    """Return the reply to a command as the server wrote it."""
    connection = client.connection_pool.make_connection()
    try:
        connection.send_command(*command)
        reply: bytes = connection.read_response()
        return reply
    finally:
        connection.disconnect()


def use_every_verb(client: redis.Redis, name: str) -> None:
    """Acquire, wait, renew, hand over, inspect, force and release."""
    first, second = (RedisLock(client, name, metadata={"host": "a"}) for _ in range(2))
    assert first.acquire()
    assert not second.acquire()
    assert not second.acquire(blocking=True, timeout=0.02)
    keys = client.dbsize()
    waiting = Waiting(second)
    eventually(lambda: client.dbsize() > keys, message=f"{name!r} should have a queue")
    assert first.renew()
    assert first.release()
    assert waiting.answer()
    holder = first.holder()
    assert holder is not None
    assert holder.metadata == {"host": "a"}
    assert first.force_release()
    assert first.acquire()
    assert first.release()
    assert not first.locked()


def test_every_verb_stays_in_one_slot_whatever_the_name(cluster: redis.Redis) -> None:
    for name in NASTY_NAMES:
        use_every_verb(cluster, name)


def test_locks_with_similar_names_are_different_locks(arena: Arena) -> None:
    locks = [RedisLock(arena.client, name) for name in NASTY_NAMES]

    assert all(lock.acquire() for lock in locks)

    assert {arena.client.get(name) for name in NASTY_NAMES} == {
        lock.token.encode() for lock in locks if lock.token
    }
    assert all(lock.owned() for lock in locks)
    assert all(lock.release() for lock in locks)


def assert_little_is_left(client: redis.Redis, kept: set[str]) -> None:
    """Only these stay, for an hour at most, and nothing else for more than two minutes."""
    left = {key.decode(): client.pttl(key) for key in client.scan_iter()}
    assert all(ttl > 0 for ttl in left.values()), "a key would stay for ever"
    assert {key for key, ttl in left.items() if ttl > TWO_MINUTES_MS} <= kept
    assert all(ttl <= HOUR_MS for ttl in left.values())


def test_after_the_last_release_nothing_stays(arena: Arena) -> None:
    first, second = RedisLock(arena.client, NAME, expire=7200), RedisLock(arena.client, NAME)
    assert first.acquire()
    waiting = Waiting(second)
    until_in_line(arena.client, NAME, 1)
    assert not RedisLock(arena.client, NAME).acquire(blocking=True, timeout=0.05)
    assert first.release()
    assert waiting.answer()
    assert second.renew()

    assert second.release()

    assert_little_is_left(arena.client, set())


def test_many_grants_leave_no_more_than_one(one_arena: Arena) -> None:
    lock = RedisLock(one_arena.client, NAME)
    for _ in range(300):
        assert lock.acquire()
        assert lock.release()

    assert_little_is_left(one_arena.client, set())
    assert sum(one_arena.client.memory_usage(key) for key in one_arena.client.scan_iter()) < 40_000


def test_waiters_that_died_leave_nothing_for_longer_than_two_minutes(
    client: redis.Redis, contend: Callable[..., Contender]
) -> None:
    lock = RedisLock(client, NAME, expire=60)
    assert lock.acquire()
    waiting = [contend(NAME) for _ in range(3)]
    for n, contender in enumerate(waiting):
        contender.tell("acquire", blocking=True)
        until_in_line(client, NAME, n + 1)
    for contender in waiting:
        contender.send_signal(signal.SIGKILL)

    assert lock.release()

    assert client.exists(companion("waiters", NAME))
    assert_little_is_left(client, set())


def test_a_holder_that_died_leaves_nothing_for_longer_than_its_lease(
    client: redis.Redis, contend: Callable[..., Contender]
) -> None:
    contender = contend(NAME, expire=5, renew=True)
    assert contender.ask("acquire")
    contender.send_signal(signal.SIGKILL)

    assert_little_is_left(client, set())
    assert client.pttl(NAME) <= 5000
    assert client.pttl(companion("holder", NAME)) <= 65_000


@pytest.mark.parametrize("expire", [1, 60, 7200])
def test_calls_with_names_of_their_own_leave_nothing(client: redis.Redis, expire: float) -> None:
    for number in range(100):
        lock = RedisLock(client, f"{NAME}:{number}", expire)
        assert lock.acquire()
        assert lock.release(done=f"early {number}", remember=60)

    assert_little_is_left(client, set())


def test_work_that_is_remembered_for_longer_leaves_one_small_key_a_name(client: redis.Redis) -> None:
    names = [f"redislock:shop.import_csv:{uuid4().hex}" for _ in range(100)]
    for name in names:
        lock = RedisLock(client, name, 7200)
        assert lock.acquire()
        assert lock.release(done=str(uuid4()))

    kept = {companion("done", name) for name in names}
    assert_little_is_left(client, kept)
    assert max(client.memory_usage(key) for key in kept) + EXPIRY_BYTES <= 150


def test_a_refused_acquire_that_does_not_wait_leaves_no_trace(arena: Arena) -> None:
    arena.client.set(NAME, "a stranger's")

    assert not RedisLock(arena.client, NAME).acquire()

    assert arena.client.keys() == [NAME.encode()]
