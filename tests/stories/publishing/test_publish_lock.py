"""PublishLock: at most one waits, and that the checks of it would notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
import redis

from celery_redislock import RedisLock, StoreUnavailable
from celery_redislock.publish_lock.record import PublishLock

from ...mutants import publishing as wrong
from ...support.proxy import Proxy
from ...support.servers import Server, free_port
from . import publish_lock_checks as checks
from .publish_lock_checks import NAME, QUEUED, TTL_MS

#: The check that each wrong one must fail, and why.
WRONG = {
    (wrong.LooksAndThenTakes, checks.of_many_at_once_one_takes_it): "took it",
    (wrong.FreesAnybodys, checks.nobody_frees_anothers): "freed the publish lock of another",
    (wrong.LooksAtItselfOnly, checks.a_holder_of_the_lock_counts): "published beside one that runs",
    (wrong.MakesATokenForEachSend, checks.a_second_send_gets_the_same_answer): "it met itself",
}

Check = Callable[[Any, redis.Redis], None]


def name_of(value: Any) -> str:
    return str(getattr(value, "__name__", value))


@pytest.mark.parametrize("check", checks.ALL, ids=name_of)
def test_a_publish_lock_keeps_its_promises(check: Check, any_server: Server) -> None:
    with any_server.client() as client:
        client.flushall()
        check(PublishLock, client)
        client.flushall()


@pytest.mark.parametrize("check", checks.ALL, ids=name_of)
def test_it_keeps_them_on_fakeredis(check: Check, fake_client: redis.Redis) -> None:
    check(PublishLock, fake_client)


@pytest.mark.parametrize(("kind", "check"), WRONG, ids=name_of)
def test_the_checks_catch_a_wrong_one(kind: Any, check: Check, client: redis.Redis) -> None:
    """A check that never fails proves nothing."""
    with pytest.raises(AssertionError, match=WRONG[kind, check]):
        check(kind, client)


def test_the_grant_of_the_lock_ends_the_publish_lock_of_its_own_work(client: redis.Redis) -> None:
    token = uuid4().hex
    assert PublishLock(client, NAME).take(token, "work", TTL_MS) is None
    lock = RedisLock(client, NAME, ticket=token)

    assert lock.acquire()

    assert not client.exists(QUEUED)
    assert lock.release()


def test_the_grant_leaves_the_publish_lock_of_another(client: redis.Redis) -> None:
    assert PublishLock(client, NAME).take(uuid4().hex, "work", TTL_MS) is None
    lock = RedisLock(client, NAME, ticket=uuid4().hex)

    with lock:
        assert client.exists(QUEUED)
    assert client.exists(QUEUED)


def test_a_refused_attempt_keeps_its_publish_lock(client: redis.Redis) -> None:
    token = uuid4().hex
    assert PublishLock(client, NAME).take(token, "work", TTL_MS) is None
    waiter = RedisLock(client, NAME, ticket=token)

    with RedisLock(client, NAME):
        assert not waiter.acquire()
        assert client.exists(QUEUED)


def test_finished_work_ends_the_publish_lock_of_its_copies(client: redis.Redis) -> None:
    """A copy that was put off while the work was done will be dropped: it must not stand for it."""
    lock = RedisLock(client, NAME, ticket=uuid4().hex)
    assert lock.acquire()
    assert PublishLock(client, NAME).take(uuid4().hex, "work", TTL_MS, again=True) is None

    assert lock.release(done="work")

    assert not client.exists(QUEUED)


def test_a_copy_that_comes_when_the_work_is_done_takes_none(client: redis.Redis) -> None:
    lock = RedisLock(client, NAME)
    assert lock.acquire()
    assert lock.release(done="work")

    assert PublishLock(client, NAME).take(uuid4().hex, "work", TTL_MS, again=True) is None

    assert not client.exists(QUEUED)


def test_a_holder_can_be_exempt_but_not_what_it_keeps(client: redis.Redis) -> None:
    publish_lock = PublishLock(client, NAME)
    holder = RedisLock(client, NAME, min_hold=5, metadata={"id": 'quo"ted'})
    assert holder.acquire()

    assert publish_lock.take(uuid4().hex, "work", TTL_MS, exempt="another") is not None
    token = uuid4().hex
    assert publish_lock.take(token, "work", TTL_MS, exempt='quo"ted') is None

    assert publish_lock.free(token)
    assert holder.release()
    assert publish_lock.take(uuid4().hex, "work", TTL_MS, exempt='quo"ted') is not None


def test_a_waiting_copy_of_the_exempt_work_does_not_count_either(client: redis.Redis) -> None:
    """A task that was delivered twice sends the next member of its chain."""
    publish_lock = PublishLock(client, NAME)
    assert publish_lock.take(uuid4().hex, "sender", TTL_MS) is None

    assert publish_lock.take(uuid4().hex, "next", TTL_MS) is not None
    assert publish_lock.take(uuid4().hex, "next", TTL_MS, exempt="sender") is None


def test_work_that_comes_again_takes_over_its_own_publish_lock_only(client: redis.Redis) -> None:
    publish_lock, later = PublishLock(client, NAME), uuid4().hex
    first = uuid4().hex
    assert publish_lock.take(first, "work", TTL_MS) is None

    assert publish_lock.take(later, "work", TTL_MS) is not None
    assert publish_lock.take(later, "work", TTL_MS, again=True) is None
    assert publish_lock.take(uuid4().hex, "other work", TTL_MS, again=True) is not None

    assert not publish_lock.free(first)
    assert publish_lock.free(later)


def test_only_its_token_makes_it_last(client: redis.Redis) -> None:
    publish_lock, token = PublishLock(client, NAME), uuid4().hex
    assert publish_lock.take(token, "work", 1000) is None

    assert not publish_lock.keep(uuid4().hex, 60_000)
    assert client.pttl(QUEUED) <= 1000
    assert publish_lock.keep(token, 60_000)
    assert client.pttl(QUEUED) > 50_000
    assert publish_lock.free(token)
    assert not publish_lock.keep(token, 60_000)
    assert not client.exists(QUEUED)


def test_a_lost_reply_changes_nothing(server: Server, client: redis.Redis) -> None:
    with Proxy(server.port) as proxy, redis.Redis(port=proxy.port, socket_timeout=0.25) as victim:
        publish_lock, token = PublishLock(victim, NAME), uuid4().hex
        # So that the server knows the script, and the next request is the only one.
        assert publish_lock.take(token, "work", TTL_MS) is None
        client.delete(QUEUED)
        proxy.swallow_replies(1, matching=b"EVALSHA")

        assert publish_lock.take(token, "work", TTL_MS) is None

    assert client.get(QUEUED) == f"{token} work".encode()


def test_an_outage_is_told_in_time() -> None:
    with redis.Redis(port=free_port()) as client, pytest.raises(StoreUnavailable):
        PublishLock(client, NAME).take(uuid4().hex, "work", TTL_MS)


def test_ids_and_names_of_any_kind_come_back(client: redis.Redis) -> None:
    for name in ("plain", "{tagged}x", "}odd{", "with space", "é\N{SNOWMAN}"):
        publish_lock = PublishLock(client, name)
        work = "my id, with spaces & ünicode"
        assert publish_lock.take(uuid4().hex, work, TTL_MS) is None
        there = publish_lock.take(uuid4().hex, "other", TTL_MS)
        assert there is not None
        assert there.metadata["id"] == work
        assert there.lease_left is not None
        assert 0 < there.lease_left <= TTL_MS / 1000
