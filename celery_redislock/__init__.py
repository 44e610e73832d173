"""Celery tasks that never run twice at once, on a Redis lock that can be trusted.

The table of contents. What needs a library is loaded when first used: ``import celery_redislock`` imports
neither redis nor Celery, ``from celery_redislock import RedisLock`` no Celery. The parts, from what users
call down to what all parts share; each imports only what stands below it:

* ``testing/`` for those who test their own locked tasks
* ``plugin.py`` how a process comes to know all of the Celery layer
* ``operations/`` for people: who has which lock, how to take it away, and what is wrong
* ``beat/`` many beats, one of them sends
* ``batch/`` a whole canvas under one lock
* ``task/`` one run, from taking the lock to releasing it
* ``worker/`` what the worker's parent does for the locks of its children
* ``limits.py`` how many may hold a lock, changed by an operator while the system runs
* ``publishing/`` with `lock_scope`: an equal call that waits or runs is not published twice
* ``conflicts/`` a task cannot begin
* ``pending/`` one more run, later
* ``doctor/`` what is wrong with the locks of an app, and its cure
* ``publish_lock/`` under the name of a lock at most one message waits
* ``observing/`` what people and their tools see of locks
* ``config/`` what was declared, checked and frozen
* ``engine/`` the lock itself: Redis, time and threads; it can be used without Celery
* ``naming/`` which calls share a lock
* ``messages/`` what we write into Celery's messages and results
* ``signals.py`` the four Celery signals of a locked task
* ``events.py`` what happened to a lock, as frozen data, and who listens
* ``log_fields.py`` what log lines have for machines
* ``errors.py`` every error
* ``durations.py`` seconds or timedelta at the door, milliseconds inside
* ``holder.py`` who has a lock
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .config.lock_key import LockKey
from .errors import ConfigurationError, LockBusy, LockKeyError, LockLost, RedislockError, StoreUnavailable
from .holder import Holder
from .task.unlocked import Unlocked

if TYPE_CHECKING:
    from .batch.locked_batch import locked_batch
    from .conflicts.conflict import Conflict
    from .engine import RedisLock, RedisLocks
    from .task.decorator import locked_task
    from .task.locked_task import LockedTask, current_lock
    from .task.typed import CallOptions, TaskLock
    from .worker.request import LockedRequest

__version__ = "0.1.0"

__all__ = [
    # the engine
    "Holder",
    "RedisLock",
    "RedisLocks",
    # the Celery layer
    "CallOptions",
    "Conflict",
    "LockKey",
    "LockedRequest",
    "LockedTask",
    "TaskLock",
    "Unlocked",
    "current_lock",
    "locked_batch",
    "locked_task",
    # errors
    "ConfigurationError",
    "LockBusy",
    "LockKeyError",
    "LockLost",
    "RedislockError",
    "StoreUnavailable",
]

_REDIS_LAYER = {
    "CallOptions": ".task.typed",
    "RedisLock": ".engine",
    "RedisLocks": ".engine",
    "TaskLock": ".task.typed",
}

_CELERY_LAYER = {
    "Conflict": ".conflicts.conflict",
    "LockedRequest": ".worker.request",
    "LockedTask": ".task.locked_task",
    "current_lock": ".task.locked_task",
    "locked_batch": ".batch.locked_batch",
    "locked_task": ".task.decorator",
}


# To a type checker the names above are all that there are.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in _REDIS_LAYER:
            found = globals()[name] = getattr(importlib.import_module(_REDIS_LAYER[name], __name__), name)
            return found
        if name not in _CELERY_LAYER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # Whoever uses any name of the Celery layer publishes or runs tasks that all of it must know.
        importlib.import_module(".plugin", __name__).install()
        return getattr(importlib.import_module(_CELERY_LAYER[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
