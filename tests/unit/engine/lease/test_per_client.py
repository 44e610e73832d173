"""PerClient: the renewals and mailrooms of a process, one for each store, and none after a fork."""

from __future__ import annotations

import gc
import os
from weakref import ref

import pytest
import redis

from celery_redislock.engine.lease import per_client
from celery_redislock.engine.lease.mailroom import PLACES
from celery_redislock.engine.lease.per_client import mailroom_with, renewal_of
from celery_redislock.engine.lease.verbs import LockVerbs
from celery_redislock.engine.threads import here
from celery_redislock.engine.transport.clients import store_of


@pytest.fixture
def verbs(client: redis.Redis) -> LockVerbs:
    """Give a lock."""
    return LockVerbs(store_of(client), "shared")


def test_waiters_of_one_lock_share_a_mailroom_until_it_is_full(verbs: LockVerbs) -> None:
    rooms = [mailroom_with(verbs, b"%d" % number) for number in range(PLACES + 1)]

    assert len(set(map(id, rooms))) == 2
    assert rooms[0] is rooms[PLACES - 1] is not rooms[PLACES]


def test_another_lock_has_another_mailroom(verbs: LockVerbs) -> None:
    other = LockVerbs(verbs.store, "other")

    room, another = mailroom_with(verbs, b"one"), mailroom_with(other, b"two")

    assert room is not another


def test_nothing_is_kept_of_a_client_that_is_gone(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    store = ref(store_of(client))
    renewal_of(store_of(client), 1.0)
    assert store() in per_client._renewals
    client.close()
    del client
    gc.collect()

    assert store() is None


# Eventlet, and Python from 3.12 on, warn of any fork: other tests have loaded the one, and have threads.
@pytest.mark.filterwarnings(
    "ignore:Using fork", "ignore:This process", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_the_child_of_a_fork_knows_of_no_lease_and_no_waiter(verbs: LockVerbs) -> None:
    room, renewal, parent = mailroom_with(verbs, b"one"), renewal_of(verbs.store, 1.0), here.process
    renewal._watches["token"] = None  # type: ignore[assignment]
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:  # no assertion here: the child ends at once, whatever happens
        is_new = mailroom_with(verbs, b"two") is not room
        os.write(writing, b"%d%d%d" % (is_new, not renewal._watches, here.process is not parent))
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writing)

    assert os.read(reading, 3) == b"111"
    os.close(reading)
    assert mailroom_with(verbs, b"two") is room
    assert renewal._watches.pop("token", "gone") is None
