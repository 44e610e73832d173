"""The lock engine: Redis, time and threads. It has never heard of Celery."""

from .inspection import inspect, inspect_all
from .lock import RedisLock
from .orphan import release_orphan
from .protocol.exclusive import Inspection
from .transport.clients import Client, reaches, store_of
from .transport.cluster import ClusterAddress
from .transport.outages import meaning_of

__all__ = [
    "Client",
    "ClusterAddress",
    "Inspection",
    "RedisLock",
    "inspect",
    "inspect_all",
    "meaning_of",
    "reaches",
    "release_orphan",
    "store_of",
]
