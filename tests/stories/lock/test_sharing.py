"""Sharing: one client among processes, and with the user's own commands."""

from __future__ import annotations

from collections.abc import Callable

import redis

from celery_redislock import RedisLock

from ...support.arena import Arena
from ...support.deadlines import eventually
from ...support.waiting_threads import Waiting
from .contender import Contender

NAME = "shared"


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
