"""Pools: what the pool of a user's client says now, and when it is closed.

We have our own connections, but they are made and closed as the pool's are: of the credentials that
stand there at that moment, and gone when the pool was disconnected. A pool is never kept alive by us.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any
from weakref import ref

from .store import Store

#: What an operator may change while the program runs.
_CREDENTIALS = ("username", "password", "credential_provider")


class PoolOptions(Mapping[str, Any]):
    """What makes the connections of a pool, as it stands there now.

    Args:
        pool: Of redis-py; referred to weakly.
    """

    #: What a pool has for connections of its own only; some of it leads back to the pool.
    _of_the_pool: tuple[str, ...] = (
        "maint_notifications",
        "oss_cluster_",
        "orig_",
        "himport_registry",
        "connection_pool",
    )

    def __init__(self, pool: Any) -> None:
        self._pool = ref(pool)
        self._last: dict[str, Any] = {}
        self._now()

    def __getitem__(self, name: str) -> Any:
        return self._now()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def _now(self) -> dict[str, Any]:
        pool = self._pool()
        if pool is not None:
            own = self._of_the_pool
            self._last = {k: v for k, v in pool.connection_kwargs.items() if not k.startswith(own)}
        return self._last


class ClusterOptions(PoolOptions):
    """What makes the connections of a cluster's client, without an address.

    Args:
        manager: The client's ``nodes_manager``; referred to weakly.
        pool: Of one of its nodes.
        greet: What the user has called at each new connection.
    """

    #: The client's own way to connect would send READONLY, and leads back to the client.
    _of_the_pool = (*PoolOptions._of_the_pool, "redis_connect_func")

    def __init__(self, manager: Any, pool: Any, greet: Callable[[Any], object] | None) -> None:
        self._manager = ref(manager)
        self._greet = greet
        self._first = _credentials(manager.connection_kwargs)
        super().__init__(pool)

    def _now(self) -> dict[str, Any]:
        options = {**super()._now()}
        # What the user gave is called as redis-py does.
        greet = self._greet
        if greet is not None:
            options["redis_connect_func"] = lambda connection: (connection.on_connect(), greet(connection))
        manager = self._manager()
        changed = {} if manager is None else _credentials(manager.connection_kwargs)
        # New nodes are made of what the manager has, known ones of what their pools have.
        return options if changed == self._first else {**options, **changed}


def _credentials(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: options.get(name) for name in _CREDENTIALS}


def when_closed(place: Any, store: Store) -> None:
    """Close the idle connections of a store whenever the client or its pool is closed.

    redis-py tells nobody, so we stand before the method of this one pool.

    Args:
        place: The pool of a client, or the ``nodes_manager`` of a cluster's.
        store: What leads there.
    """
    name = next((name for name in ("disconnect", "close") if hasattr(place, name)), None)
    if name is None:
        return
    there, ours, original = ref(place), ref(store), getattr(type(place), name)

    def closing(*args: Any, **kwargs: Any) -> Any:
        known = ours()
        if known is not None:
            known.close()
        known_place = there()
        # None while both are collected.
        return None if known_place is None else original(known_place, *args, **kwargs)

    with suppress(AttributeError):  # a pool that takes no attributes: its connections go when it goes
        setattr(place, name, closing)
