"""Contenders: the table of all that are measured; their modules are imported in their own environments."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from ..environments import MAIN, PURE
from .protocol import Contender

__all__ = [
    "CONTENDERS",
    "FLOOR",
    "LOCKS",
    "OBSERVED",
    "PINGS",
    "SHARED",
    "TASKS",
    "TASK_PARTS",
    "Contender",
    "Entry",
    "contender_of",
]


@dataclass(frozen=True)
class Entry:
    """One contender: how tables call it, where its class is, which environment it runs in."""

    title: str
    #: "module:class" in this package; a kind of task has none.
    path: str = ""
    environment: str = MAIN
    #: The package whose version the report names.
    package: str = "redis"


#: The contender that ratios are told against: two PINGs through redis-py.
FLOOR = "floor"

#: What holds a lock.
LOCKS = {
    "redislock": Entry("**celery_redislock**", "ours:RedislockContender", package="celery-redislock"),
    "redis-py": Entry("redis-py `Lock`", "redis_py:RedisPyContender"),
    "python-redis-lock": Entry(
        "python-redis-lock", "python_redis_lock:PythonRedisLockContender", package="python-redis-lock"
    ),
    "seed": Entry("the simple class", "simple:SimpleContender"),
    "redlock-ng": Entry("redlock-ng", "redlock_ng:RedlockNgContender", "redis5", "redlock-ng"),
    "sherlock": Entry("sherlock", "sherlock_lock:SherlockContender", "redis4", "sherlock"),
    "pottery": Entry("pottery", "pottery_redlock:PotteryContender", package="pottery"),
}

#: What several hold at once.
SHARED = {
    "redislock-shared": Entry("celery_redislock, `shared=True`", "ours:Readers", package="celery-redislock"),
    "redislock-limit": Entry("celery_redislock, `limit=2000`", "ours:Places", package="celery-redislock"),
}

#: What a free cycle is told against.
PINGS = {
    FLOOR: Entry("floor: 2 `PING`s, redis-py", "floors:RedisPyPings"),
    "floor-single": Entry("2 `PING`s, redis-py, `single_connection_client`", "floors:SingleConnectionPings"),
    "floor-raw": Entry("2 `PING`s, raw socket", "floors:RawPings"),
    "floor-redis5": Entry("2 `PING`s, redis-py 5", "floors:RedisPyPings", "redis5"),
    "floor-redis4": Entry("2 `PING`s, redis-py 4", "floors:RedisPyPings", "redis4"),
    "floor-pure": Entry("2 `PING`s, redis-py without hiredis", "floors:RedisPyPings", PURE),
    "redislock-scripts": Entry(
        "our two scripts, and nothing around them", "ours:BareScripts", package="celery-redislock"
    ),
    "redislock-pure": Entry(
        "celery_redislock without hiredis", "ours:RedislockContender", PURE, "celery-redislock"
    ),
    "redislock-repacked": Entry(
        "celery_redislock, packed by redis-py", "ours:PackedByRedisPy", package="celery-redislock"
    ),
    "redislock-repacked-pure": Entry(
        "celery_redislock, packed by redis-py without hiredis",
        "ours:PackedByRedisPy",
        PURE,
        "celery-redislock",
    ),
}

#: What runs as a Celery task.
TASKS = {
    "plain": Entry("a plain task", package="celery"),
    "pings": Entry("floor: a plain task with 2 `PING`s, redis-py"),
    "locked": Entry("**celery_redislock**", package="celery-redislock"),
    "celery-once": Entry("celery-once", package="celery-once"),
    "celery-singleton": Entry("celery-singleton", package="celery-singleton"),
}

#: What shows where the time of a locked task goes.
TASK_PARTS = {
    "locked-off": Entry('celery_redislock, `lock_mode="off"`', package="celery-redislock"),
    "engine": Entry("a plain task with a `RedisLock` in its hooks", package="celery-redislock"),
    "two-scripts": Entry("floor: a plain task with the 2 shortest scripts of a lock, redis-py"),
}

#: What is seen of a locked task: by default the statistics.
OBSERVED = {
    "locked": TASKS["locked"],
    "locked-unseen": Entry("celery_redislock, nothing is seen", package="celery-redislock"),
    "locked-prometheus": Entry("celery_redislock, Prometheus", package="celery-redislock"),
    "locked-seen": Entry("celery_redislock, Prometheus and OpenTelemetry", package="celery-redislock"),
}

CONTENDERS = {**LOCKS, **SHARED, **PINGS, **TASKS, **TASK_PARTS, **OBSERVED}


def contender_of(name: str, port: int) -> Contender:
    """Return a contender that talks to the server at this port; only in its own environment."""
    module, _, class_name = CONTENDERS[name].path.partition(":")
    contender: Contender = getattr(importlib.import_module(f"{__name__}.{module}"), class_name)(port)
    return contender
