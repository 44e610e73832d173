"""Servers: rules about whether the servers are fit to keep locks."""

from __future__ import annotations

from collections.abc import Iterator

from ..engine import rights, server_fitness
from ..observing import tally
from .configuration import Configuration
from .finding import WARNING, Problem
from .live import Live
from .wording import names, rounded_up, seconds

__all__ = [
    "answers_late",
    "evicts",
    "has_too_few_replicas",
    "is_nearly_full",
    "is_one_node",
    "is_replica",
    "is_too_old",
    "lacks_rights",
]

#: A lease is to be worth so many round trips at least.
_ROUND_TRIPS_OF_A_LEASE, _P99 = 20.0, 0.99

#: Fields of INFO: what is used, what there is; how much of it is too much; what it is called; the cure.
_LIMITS = (
    ("connected_clients", "maxclients", 0.8, "connections", "redis-cli config set maxclients <more>"),
    ("used_memory", "maxmemory", 0.9, "bytes of memory", "redis-cli config set maxmemory <more>"),
)


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


def lacks_rights(seen: Live) -> Iterator[Problem]:
    """RL205: the Redis user may not do what the locks of the app need."""
    for_statistics = rights.FOR_STATISTICS if tally.is_wanted(seen.configured.app) else frozenset()
    needed = _needed(seen.configured)
    lacks = rights.missing(seen.client, seen.provider.prefix, needed | for_statistics)
    if uncounted := sorted(for_statistics.intersection(lacks.commands)):
        yield Problem(
            f"the Redis user may not run {', '.join(uncounted).upper()}, which statistics need: nothing is "
            "counted",
            f"redis-cli ACL SETUSER <user> {' '.join('+' + each for each in uncounted)}",
            WARNING,
        )
    if commands := sorted(needed.intersection(lacks.commands)):
        yield Problem(
            f"the Redis user may not run {', '.join(commands).upper()}, which locks need",
            f"redis-cli ACL SETUSER <user> {' '.join('+' + each for each in commands)}",
        )
    if lacks.places:
        yield Problem(
            f"the Redis user may not touch the keys {names(lacks.places)}, which locks need",
            f"redis-cli ACL SETUSER <user> {' '.join(repr('~' + each) for each in lacks.places)}",
        )


def has_too_few_replicas(seen: Live) -> Iterator[Problem]:
    """RL206: a lock must be copied to more replicas than there are."""
    wanted = max((each.options.min_replicas for each in seen.configured.locked), default=0)
    there = min((int(facts.get("connected_slaves", 0)) for facts in seen.facts), default=wanted)
    if there < wanted:
        tasks = [each.name for each in seen.configured.locked if each.options.min_replicas > there]
        yield Problem(
            f"Redis at {seen.provider.shown} has {there} replicas, but lock_min_replicas of {names(tasks)} "
            f"is {wanted}: no such lock can be taken",
            f"lock_min_replicas={there}",
        )


def answers_late(seen: Live) -> Iterator[Problem]:
    """RL208: a round trip is long beside the shortest lease."""
    ttl_s, task = min(
        ((each.options.ttl_ms / 1000, each.name) for each in seen.configured.locked), default=(0.0, "")
    )
    trips_s = seen.round_trips_s if task else ()
    late_s = trips_s[int(len(trips_s) * _P99)] if trips_s else 0.0
    if late_s > ttl_s / _ROUND_TRIPS_OF_A_LEASE:
        yield Problem(
            f"a round trip to Redis takes up to {late_s * 1000:.0f} ms (p99 of {len(trips_s)}), more than a "
            f"{_ROUND_TRIPS_OF_A_LEASE:.0f}th of the lock_ttl of {task}, {seconds(ttl_s)}",
            f"lock_ttl={rounded_up(late_s * _ROUND_TRIPS_OF_A_LEASE)}",
        )


def is_nearly_full(seen: Live) -> Iterator[Problem]:
    """RL208: connections or memory of a server are nearly used up."""
    for facts in seen.facts:
        for used, limit, share, what, cure in _LIMITS:
            most = int(facts.get(limit, 0))
            has = int(facts.get(used, 0))
            if most and has > share * most:
                yield Problem(
                    f"Redis at {seen.provider.shown} uses {has} of {most} {what}: soon locks are refused",
                    cure,
                )


def _needed(configured: Configuration) -> set[str]:
    """Return the commands that the locks of an app need."""
    needed = set(rights.FOR_EACH_LOCK)
    if any(each.options.on_conflict in ("coalesce", "replace") for each in configured.locked):
        needed |= rights.FOR_PENDING_RUNS
    if configured.uses_locked_scheduler:
        needed |= rights.FOR_BEAT
    if any(each.options.min_replicas for each in configured.locked):
        needed |= rights.FOR_REPLICAS
    return needed


def _of(seen: Live, fact: str, cure: str) -> Iterator[Problem]:
    for finding in server_fitness.of_all(seen.client, seen.facts):
        if finding.fact == fact:
            yield Problem(f"Redis at {seen.provider.shown}: {finding}", cure)
