"""Far away: over a long way a call works in time, and leaves nothing behind, in each topology."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis

from celery_redislock import RedisLock, StoreUnavailable
from celery_redislock.config.client import client_from_url

from ...support.deadlines import eventually
from ...support.proxy import Proxy
from ...support.servers import Server, free_port
from ...support.topologies import SERVICE, SentinelServer, alone, take_all_slots
from .test_tls import make_authority

#: No call waits longer for Redis, seconds; a timeout is kept within so much.
LONGEST, KEPT_WITHIN = 5.0, 0.15


class Far(NamedTuple):
    """Some servers, and the long ways to them.

    Attributes:
        client: What a lock takes, with nothing open.
        direct: A client of the server that has the locks, past the way.
        ways: All that lies in between.
    """

    client: Any
    direct: redis.Redis
    ways: list[Proxy]

    def delay(self, seconds: float) -> None:
        """Let each answer take so long."""
        for way in self.ways:
            way.delay(replies=seconds)


def behind_a_sentinel(stack: ExitStack, folder: Path) -> Far:
    """Put master and Sentinel far away."""
    master = stack.enter_context(Server("redis"))
    way = stack.enter_context(Proxy(master.port))
    sentinel = stack.enter_context(SentinelServer("redis", folder, way.port))
    to_sentinel = stack.enter_context(Proxy(sentinel.port))
    url = f"sentinel://127.0.0.1:{to_sentinel.port}/0?service={SERVICE}"
    return Far(client_from_url(url, setting="url"), master.client(), [way, to_sentinel])


def in_a_cluster(stack: ExitStack, _: Path) -> Far:
    """Put a cluster of one node far away, behind a forwarded port."""
    node = stack.enter_context(alone())
    take_all_slots(node)
    way = stack.enter_context(Proxy(node.port))
    remap = {"address_remap": lambda _: ("127.0.0.1", way.port)}
    client = client_from_url(f"redis+cluster://127.0.0.1:{way.port}", setting="url", options=remap)
    return Far(client, node.client(), [way])


def with_tls(stack: ExitStack, folder: Path) -> Far:
    """Put a server with TLS far away."""
    authority, port = make_authority(folder / "authority"), free_port()
    server = stack.enter_context(Server("redis", options=("--tls-port", str(port), *authority.options)))
    way = stack.enter_context(Proxy(port))
    url = f"rediss://127.0.0.1:{way.port}/0?ssl_ca_certs={authority.root}"
    return Far(client_from_url(url, setting="url"), server.client(), [way])


@pytest.fixture(params=[behind_a_sentinel, in_a_cluster, with_tls], ids=lambda make: make.__name__)
def far(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Far]:
    """Give servers of each topology, which know the scripts."""
    with ExitStack() as stack:
        make: Callable[[ExitStack, Path], Far] = request.param
        far = make(stack, tmp_path)
        stack.callback(far.direct.close)
        assert RedisLock(far.direct, "warm").acquire()
        yield far


def taken(lock: RedisLock, *arguments: Any) -> tuple[bool, float]:
    """Ask for a lock; return whether it was granted, and the seconds that it took."""
    began_at = time.monotonic()
    try:
        granted = lock.acquire(*arguments)
    except StoreUnavailable:
        granted = False
    return granted, time.monotonic() - began_at


def test_a_first_call_works_within_five_seconds(far: Far) -> None:
    far.delay(0.5)

    granted, took = taken(RedisLock(far.client, "far"))

    assert granted
    assert took < LONGEST


def test_a_short_timeout_is_kept_and_leaves_nothing(far: Far) -> None:
    far.delay(0.1)
    lock = RedisLock(far.client, "far")

    granted, took = taken(lock, True, 0.2)

    assert took < 0.2 + KEPT_WITHIN
    assert granted == bool(far.direct.exists("far"))
    eventually(lambda: lock.token or taken(lock, True, 0.2)[0], 5, "what is opened should be kept")


def test_what_was_sent_and_not_answered_is_given_back(far: Far) -> None:
    assert RedisLock(far.client, "opens").acquire()
    far.delay(0.6)

    granted, took = taken(RedisLock(far.client, "far", expire=30), True, 0.1)

    assert not granted
    assert took < 0.1 + KEPT_WITHIN
    eventually(lambda: not far.direct.exists("far"), 1, "it should have been given back")
