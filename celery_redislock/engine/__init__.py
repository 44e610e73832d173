"""Engine: the lock itself; it has never heard of Celery, and can be used alone.

A lock is one key of Redis that ends by itself. The engine takes it, waits for it in line, renews it, notices
its loss and gives it back. What else must live beside a lock is a companion of it, in the same slot of a
cluster. Other folders use the names below and ``companion.py``, never the modules inside.

* ``lock.py`` `RedisLock`
* ``locks.py`` `RedisLocks`: several locks, all or none
* ``group_lease.py`` one lease that several processes hold until the last of them has ended
* ``companion.py`` what a feature keeps beside a lock: its key, its scripts, errors translated
* ``inspection.py`` who holds what; giving back for a process that is dead
* ``limits.py`` what an operator sets for a lock while it is in use
* ``server_fitness.py`` whether the servers are fit to keep locks
* ``rights.py`` which commands their user may not run
* ``lease/`` what this process believes of a lock
* ``protocol/`` what is said to Redis and what the answers mean (pure)
* ``transport/`` how it gets there, in bounded time
* ``scripts/`` the Lua files: ``lock/`` one verb of a lock each, ``shared/`` of a lock that several
  hold, ``group/`` of a group lease
* ``threads.py`` how our threads are started and woken, and which process this is
"""

from .group_lease import Left, Member, members_in_flight
from .inspection import inspect, inspect_all, names_beside, release_orphan, server_time
from .lease.confirmation import ReleaseOutcome, confirmations
from .lease.lease import now
from .lease.loss import Loss
from .lease.per_client import renewed_here
from .lease.setup import Setup, words_of
from .lease.terms import Terms
from .limits import Limits
from .lock import RedisLock
from .locks import RedisLocks
from .protocol import holder_record
from .protocol.exclusive import Inspection, WaiterSeen
from .protocol.limit import Limit
from .transport.clients import Client, reaches, store_of
from .transport.cluster import ClusterAddress
from .transport.redis_errors import meaning_of
from .transport.replication import replicas
from .transport.store import CALL_S, Store

__all__ = [
    "CALL_S",
    "Client",
    "ClusterAddress",
    "Inspection",
    "Left",
    "Limit",
    "Limits",
    "Loss",
    "Member",
    "ReleaseOutcome",
    "RedisLock",
    "RedisLocks",
    "Setup",
    "Store",
    "Terms",
    "WaiterSeen",
    "confirmations",
    "holder_record",
    "inspect",
    "inspect_all",
    "meaning_of",
    "members_in_flight",
    "names_beside",
    "now",
    "reaches",
    "release_orphan",
    "renewed_here",
    "replicas",
    "server_time",
    "store_of",
    "words_of",
]
