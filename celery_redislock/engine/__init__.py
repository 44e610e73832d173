"""The lock engine: Redis, time and threads. It has never heard of Celery."""

from .cluster import ClusterAddress
from .inspection import Inspection, inspect, inspect_all
from .ledger import Ledger, Sent, Verdict
from .lock import RedisLock
from .meanings import meaning_of
from .orphan import release_orphan
from .publish_lock import PublishLock
from .topology import Client, reaches, store_of
from .wanted import Asked, WantedIndex, WantedRun, WantedRuns

__all__ = [
    "Asked",
    "Client",
    "ClusterAddress",
    "Inspection",
    "Ledger",
    "PublishLock",
    "RedisLock",
    "Sent",
    "Verdict",
    "WantedIndex",
    "WantedRun",
    "WantedRuns",
    "inspect",
    "inspect_all",
    "meaning_of",
    "reaches",
    "release_orphan",
    "store_of",
]
