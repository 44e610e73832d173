"""The lock engine: Redis, time and threads. It has never heard of Celery.

A lock is one key of Redis that ends by itself. The engine takes it, waits for it in line, renews it,
notices its loss and gives it back. It can be used alone. Its rooms:

* ``lock.py``: `RedisLock`.
* ``group_lease.py``: one lease that several processes hold until the last of them has ended.
* ``companion.py``: what a feature may keep beside a lock: its key, its scripts.
* ``inspection.py``: who holds what; giving back what a dead process held.
* ``fitness.py``: whether servers are fit to keep locks.
* ``threads.py``: how threads are started and woken, and told from what a fork has inherited.
* ``lease/``: what this process believes of a lock.
* ``transport/``: how a question gets to Redis in bounded time.
* ``protocol/``: what is said to Redis and what its answers mean.
* ``scripts/``: the Lua files of the lock, and of the lease of a group.
"""

from .group_lease import Left, Member, members_in_flight
from .inspection import inspect, inspect_all, release_orphan
from .lease.lease import now
from .lock import RedisLock
from .protocol.exclusive import Inspection
from .transport.clients import Client, reaches, store_of
from .transport.cluster import ClusterAddress
from .transport.outages import meaning_of
from .transport.replication import replicas
from .transport.store import CALL_S, Store

__all__ = [
    "CALL_S",
    "Client",
    "ClusterAddress",
    "Inspection",
    "Left",
    "Member",
    "RedisLock",
    "Store",
    "inspect",
    "inspect_all",
    "meaning_of",
    "members_in_flight",
    "now",
    "reaches",
    "release_orphan",
    "replicas",
    "store_of",
]
