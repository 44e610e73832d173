"""Fitness: what is said of a server that should not keep locks."""

from __future__ import annotations

import pytest

from celery_redislock.engine.server_fitness import findings

FIT = {"redis_version": "7.0.15", "role": "master", "maxmemory_policy": "noeviction", "cluster_enabled": "0"}


def test_nothing_is_said_of_a_fit_server() -> None:
    assert findings(FIT, in_cluster=False) == []
    assert findings({**FIT, "cluster_enabled": "1"}, in_cluster=True) == []


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert findings({}, in_cluster=False) == []
    assert findings({"redis_version": "unstable"}, in_cluster=False) == []


@pytest.mark.parametrize(
    ("fact", "value", "told"),
    [
        ("redis_version", "6.0.20", "version is 6.0.20, but locks need 6.2"),
        ("redis_version", "5.0.14", "version is 5.0.14, but locks need 6.2"),
        ("role", "slave", "is a replica"),
        ("maxmemory_policy", "allkeys-lru", "maxmemory-policy is allkeys-lru"),
        ("maxmemory_policy", "volatile-ttl", "maxmemory-policy is volatile-ttl"),
        ("cluster_enabled", "1", "use a redis+cluster:// URL"),
    ],
)
def test_what_makes_a_server_unfit_is_said(fact: str, value: str, told: str) -> None:
    found = findings({**FIT, fact: value}, in_cluster=False)

    assert [finding.fact for finding in found] == [fact]
    assert told in str(found[0])
