"""Servers: rules about whether the servers are fit to keep locks."""

from __future__ import annotations

from collections.abc import Iterator

from .finding import Problem
from .live import Live


def evicts(seen: Live) -> Iterator[Problem]:
    """RL201: the server deletes locks when its memory is full."""
    return _of(seen, "maxmemory_policy", "redis-cli config set maxmemory-policy noeviction")


def is_replica(seen: Live) -> Iterator[Problem]:
    """RL202: the server accepts no writes."""
    return _of(seen, "role", 'app.conf.redislock_url = "redis://<the master>:6379/0"')


def is_too_old(seen: Live) -> Iterator[Problem]:
    """RL203: the server lacks what the scripts need."""
    return _of(seen, "redis_version", "install Redis 6.2 or later, or Valkey 7.2 or later")


def is_one_node(seen: Live) -> Iterator[Problem]:
    """RL204: the server has only some of the keys."""
    return _of(seen, "cluster_enabled", 'app.conf.redislock_url = "redis+cluster://<a node>:6379"')


def _of(seen: Live, fact: str, cure: str) -> Iterator[Problem]:
    for finding in seen.unfit:
        if finding.fact == fact:
            yield Problem(f"Redis at {seen.provider.shown}: {finding}", cure)
