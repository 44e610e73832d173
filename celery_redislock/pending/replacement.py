"""Replacement: a run that is asked to stop for a newer one: how it is told, how it ends, who ends it.

The newcomer has left the wish in Redis (`coalescing.want`). The holder learns of it from the answer to its
next renewal, which is within a second for tasks that replace, and has ``LockLost(name, "replaced")`` raised
in its body. If it still runs after `lock_replace_after`, the step of any worker has it terminated.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery, Task

from ..config.options import LockOptions
from ..config.provider import provider_of
from ..engine import RedisLock, inspect, store_of
from ..errors import LockLost
from ..messages.ending import is_stored, revoke
from ..messages.outcomes import Skipped
from . import publish as wanted
from .publish import FOREIGN_MS, superseded_reason

logger = logging.getLogger(__name__)

#: Why a body is interrupted that is to make room.
REPLACED = "replaced"
#: How soon a run is told whose task replaces, seconds.
TOLD_WITHIN_S = 1.0
#: The command to all workers to terminate a run, which `worker.py` obeys.
TERMINATE = "redislock_terminate"
#: How long a termination may take before another is sent, milliseconds.
AGAIN_MS = 30_000


def told_within_s(options: LockOptions) -> float | None:
    """Return how soon a run wants to be told, seconds; None: it is never replaced, and need not hurry."""
    return TOLD_WITHIN_S if options.on_conflict == "replace" else None


def is_replaced(error: BaseException) -> bool:
    """Whether a body ended because it was to make room."""
    return isinstance(error, LockLost) and error.reason == REPLACED


def reason(app: Celery, lock_name: str, token: str) -> str | None:
    """Return why the run that holds a lock with this token makes room; None: it was not asked to."""
    successor = wanted.runs_of(app, lock_name).successor(token)
    return superseded_reason(lock_name, successor) if successor else None


def end(task: Task[..., Any], lock: RedisLock) -> Skipped:
    """Store the end of a run that has made room, and return what Celery is told."""
    why = f"replaced by another task under lock {lock.name!r}"
    try:
        why = reason(task.app, lock.name, lock.token or "") or why
    except Exception as error:  # noqa: BLE001 - without the successor's name it ends all the same
        logger.debug("lock %r: who replaces is not known: %s", lock.name, error)
    logger.info("Task %s[%s] stopped: %s", task.name, task.request.id, why)
    if is_stored(task):
        revoke(task, task.request, why)
    return Skipped(why)


def expel(app: Celery, lock_name: str) -> int | None:
    """Terminate the holder that was asked to stop and has had its time, where its pool can.

    Returns:
        Milliseconds until somebody should look again; None: nobody is asked to stop.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """
    runs = wanted.runs_of(app, lock_name)
    if not runs.is_stop_wanted():
        return None
    seen = inspect(store_of(provider_of(app).client), lock_name)
    if seen is not None and seen.holder.metadata.get("task") not in {None, *app.tasks}:
        # Another app's, which may have another broker: it does that.
        return FOREIGN_MS
    left_ms, holder = runs.expel(AGAIN_MS)
    task_id = holder.metadata.get("id") if holder else None
    if task_id is not None:
        _terminate(app, lock_name, task_id)
    return left_ms


def _terminate(app: Celery, lock_name: str, task_id: str) -> None:
    if not app.conf.worker_enable_remote_control:
        logger.warning(
            "Task %s keeps lock %r though asked to stop, and is not terminated: "
            "that needs remote control, and worker_enable_remote_control is off",
            task_id,
            lock_name,
        )
        return
    logger.warning(
        "Task %s keeps lock %r though asked to stop: its worker is told to terminate it, if its pool can",
        task_id,
        lock_name,
    )
    app.control.broadcast(TERMINATE, arguments={"task_id": task_id})
