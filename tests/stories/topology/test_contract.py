"""Contract: what makes a lock safe on one server, asked of a cluster and of a master behind Sentinels."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any
from weakref import ref

import pytest
import redis
from redis.cluster import RedisCluster
from redis.sentinel import Sentinel

from celery_redislock import RedisLock
from celery_redislock.engine.transport.clients import store_of
from celery_redislock.engine.transport.cluster import ClusterStore
from celery_redislock.engine.transport.sentinel import SentinelStore

from ...contract.kinds import REDIS_LOCK, SEVERAL, LockKind
from ...contract.promises import SAFETY, Promise, promises_of, takes_a_trial_alone
from ...contract.trial import Trial
from ...support.arena import Arena
from ...support.servers import Server
from ...support.topologies import SERVICE, SentinelServer, alone, take_all_slots


class ClusterArena(Arena):
    """Its victims find their node by its slots, and reach it through the proxy."""

    def make_victim(self, **options: Any) -> Any:
        """Return a client of the cluster."""
        there = ("127.0.0.1", self.proxy.port)
        options = {"socket_timeout": 0.25, **options}
        client = RedisCluster(host=there[0], port=there[1], address_remap=lambda _: there, **options)
        assert isinstance(store_of(client), ClusterStore)
        self._stack.callback(client.close)
        return client


class SentinelArena(Arena):
    """Its victims ask a Sentinel, to whom the proxy is the master."""

    def make_victim(self, **options: Any) -> redis.Redis:
        """Return a client of the master."""
        if not hasattr(self, "_sentinel"):
            folder = self._server._directory / "sentinel"
            folder.mkdir(exist_ok=True)
            sentinel = SentinelServer(self._server.kind, folder, self.proxy.port)
            self._sentinel = self._stack.enter_context(sentinel)
        manager: Any = Sentinel([("127.0.0.1", self._sentinel.port)], socket_timeout=1)  # type: ignore[no-untyped-call]
        client: redis.Redis = manager.master_for(SERVICE, **{"socket_timeout": 0.25, **options})
        assert isinstance(store_of(client), SentinelStore)
        self._stack.callback(client.close)
        return client


@pytest.fixture(scope="module")
def node() -> Iterator[Server]:
    """Give a cluster of one node."""
    with alone() as node:
        take_all_slots(node)
        yield node


@pytest.fixture(scope="module")
def master() -> Iterator[Server]:
    """Give a server for a Sentinel."""
    with Server("redis") as master:
        yield master


@pytest.fixture(params=["cluster", "sentinel"])
def routed_arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    """Give an arena of each kind."""
    if request.param == "cluster":
        arena: Arena = ClusterArena(request.getfixturevalue("node"))
    else:
        arena = SentinelArena(request.getfixturevalue("master"))
    with arena:
        yield arena


@pytest.mark.parametrize(
    "promise",
    [promise for promise in promises_of(SAFETY) if takes_a_trial_alone(promise)],
    ids=lambda promise: promise.__name__.removeprefix("test_"),
)
@pytest.mark.parametrize("kind", [REDIS_LOCK, SEVERAL], ids=str)
def test_the_lock_is_safe(promise: Promise, kind: LockKind, routed_arena: Arena) -> None:
    promise(Trial(kind, routed_arena, user=routed_arena.victim))


def test_a_client_that_is_dropped_is_forgotten(routed_arena: Arena) -> None:
    """The store is kept for as long as its client: not longer, whatever redis-py puts into options."""
    store = ref(store_of(routed_arena.victim))
    assert RedisLock(routed_arena.victim, "lock").acquire()

    routed_arena._stack.close()  # it knows the client, to close it
    del routed_arena.victim
    gc.collect()

    assert store() is None
