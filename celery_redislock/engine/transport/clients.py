"""Clients: which store a client leads to: one server, a master behind sentinels, or a cluster."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any
from weakref import WeakKeyDictionary

import redis
from redis.client import Pipeline
from redis.cluster import ClusterPipeline, RedisCluster
from redis.connection import Connection, SSLConnection
from redis.sentinel import SentinelConnectionPool, SentinelManagedConnection

from ...errors import ConfigurationError
from .bounded import private
from .cluster import ClusterAddress, ClusterStore
from .pools import ClusterOptions, PoolOptions, when_closed
from .routing import LOOK_UP_S
from .sentinel import SentinelStore
from .server import Server
from .store import ATTEMPT_S, Store

#: What a lock takes.
Client = redis.Redis | RedisCluster | ClusterAddress

_stores: WeakKeyDictionary[Any, Store] = WeakKeyDictionary()


def store_of(client: Client) -> Store:
    """Return the store of a client, the same one for clients that share a pool.

    Raises:
        ConfigurationError: It is not a synchronous redis-py client, or one of replicas.
    """
    place = _place_of(client)
    try:
        return _stores[place]
    except KeyError:
        store = _stores.setdefault(place, _store_at(client))
        when_closed(place, store)
        return store


def _place_of(client: Client) -> Any:
    """Return what clients of the same place share."""
    kind: type = type(client)
    return _where(kind)(client)


# Asked once for each class: redis-py's are protocols, of which `isinstance` takes longer than a new lock.
@cache
def _where(kind: type) -> Callable[[Any], Any]:
    if issubclass(kind, ClusterAddress):
        return lambda address: address
    if issubclass(kind, RedisCluster) and not issubclass(kind, ClusterPipeline):
        return attrgetter("nodes_manager")
    if issubclass(kind, redis.Redis) and not issubclass(kind, Pipeline):
        return attrgetter("connection_pool")
    raise ConfigurationError(
        f"a lock needs a redis.Redis or redis.RedisCluster client, not {kind.__module__}.{kind.__qualname__}"
        f"{_cure(kind)}"
    )


def _cure(kind: type) -> str:
    """Return what to give in place of a client of another kind."""
    packages = {base.__module__.partition(".")[0] for base in kind.__mro__}
    modules = [base.__module__ for base in kind.__mro__]
    if any(".asyncio" in module for module in modules):
        return ": asyncio clients are not supported, use a synchronous redis.Redis"
    if packages & {"valkey", "glide", "glide_sync", "valkey_glide"}:
        return ": use a redis.Redis, which works with Valkey"
    if issubclass(kind, Pipeline | ClusterPipeline):
        return ": use the client of the pipeline"
    if not packages & {"redis", "builtins"} or hasattr(kind, "__getattr__"):
        return ": if it is a proxy of a client, use the client inside it"
    return ""


def _store_at(client: Client) -> Store:
    if isinstance(client, ClusterAddress):
        return ClusterStore(client)
    if isinstance(client, RedisCluster):
        return ClusterStore(_address_of(client))
    pool = client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        return _behind_sentinels(pool)
    return Server(pool.connection_class, PoolOptions(pool))


def _address_of(client: RedisCluster) -> ClusterAddress:
    """Return what makes the connections of a client, and nothing that keeps it alive."""
    manager = client.nodes_manager
    nodes: list[Any] = list(manager.nodes_cache.values())
    pool = client.get_redis_connection(nodes[0]).connection_pool
    seeds = tuple((node.host, node.port) for node in nodes)
    options = ClusterOptions(manager, pool, client.user_on_connect_func)
    return ClusterAddress(seeds, pool.connection_class, options, manager.address_remap)


def _behind_sentinels(pool: SentinelConnectionPool) -> SentinelStore:
    if not pool.is_master:
        raise ConfigurationError(
            "a lock needs the master: use a client of Sentinel.master_for, not of slave_for"
        )
    manager = pool.sentinel_manager
    sentinels = [_sentinel_of(sentinel) for sentinel in manager.sentinels]
    connection_class = pool.connection_class
    if issubclass(connection_class, SentinelManagedConnection):
        # Those would ask the sentinels themselves, in a time of their own.
        connection_class = SSLConnection if issubclass(connection_class, SSLConnection) else Connection
    force_host = private(manager, "_force_master_ip")
    return SentinelStore(sentinels, pool.service_name, connection_class, PoolOptions(pool), force_host)


def _sentinel_of(client: redis.Redis) -> Server:
    pool = client.connection_pool
    return Server(pool.connection_class, PoolOptions(pool), LOOK_UP_S)


def reaches(client: Client) -> None:
    """Ask the servers behind a client for a sign of life.

    Raises:
        redis.RedisError: They cannot be reached within two seconds, or refuse.
    """
    store_of(client).call(("PING",), ATTEMPT_S)
