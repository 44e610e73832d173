"""Forwarded ports: of a cluster whose nodes tell addresses that are not ours, each is mapped, once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis.connection import Connection

from celery_redislock.engine.transport.cluster import ClusterAddress, ClusterStore

from .scripted import scripted

#: What the nodes call themselves; nobody is there.
FIRST, SECOND = ("10.255.0.1", 7001), ("10.255.0.2", 7002)
GET = ("GET", b"key")


def slots(words: list[bytes]) -> bytes:
    """Say that the first node has all slots."""
    host, port = FIRST
    return b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$%d\r\n%b\r\n:%d\r\n" % (len(host), host.encode(), port)


@pytest.fixture(params=["ASK", "MOVED"])
def cluster(request: pytest.FixtureRequest) -> Iterator[tuple[ClusterStore, list[Any]]]:
    """Give a cluster whose first node sends everything on to the second; and what was mapped."""
    sent_on = b"-%b 12539 %b:%d\r\n" % (request.param.encode(), SECOND[0].encode(), SECOND[1])

    def first(words: list[bytes]) -> bytes:
        return slots(words) if words[0] == b"CLUSTER" else sent_on

    def second(words: list[bytes]) -> bytes:
        return b"+OK\r\n" if words[0] == b"ASKING" else b"$5\r\nright\r\n"

    with scripted(first) as first_at, scripted(second) as second_at:
        forwarded, mapped = {FIRST: first_at, SECOND: second_at}, []

        def remap(address: Any) -> Any:
            mapped.append(address)
            return forwarded[address]

        options = {"protocol": 2, "socket_timeout": 0.5}
        store = ClusterStore(ClusterAddress((first_at,), Connection, options, remap))
        yield store, mapped
        store.close()


def test_a_question_is_sent_on_to_the_mapped_address(cluster: tuple[ClusterStore, list[Any]]) -> None:
    store, mapped = cluster

    assert [store.call(GET, 2.0) for _ in range(3)] == [b"right"] * 3

    assert set(mapped) == {FIRST, SECOND}


def test_renewals_are_sent_on_to_the_mapped_address(cluster: tuple[ClusterStore, list[Any]]) -> None:
    store, mapped = cluster
    connection = store.connection(0.5)

    assert [connection.exchange([GET, GET], 2.0) for _ in range(2)] == [[b"right"] * 2] * 2

    assert set(mapped) == {FIRST, SECOND}
    connection.close()
