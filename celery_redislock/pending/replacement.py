"""Replacement: a holder is asked to stop for a newer run, ends by itself, or is terminated.

The newer run has left the wish in Redis (``record.py``). The holder learns of it from the answer to its next
renewal, within a second if its task replaces: `LockLost` with the reason "replaced" is raised in its body. If
it still runs after `lock_replace_after`, any worker has it terminated (``rescue.py``).
"""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery, Task

from ..config.options import LockOptions
from ..config.provider import provider_of
from ..engine import RedisLock, inspect, store_of
from ..errors import LockLost
from ..log_fields import in_log
from ..messages.celery_exceptions import Skipped
from ..messages.stored_state import is_stored, revoke
from .publish import FOREIGN_MS, runs_of, superseded_reason

logger = logging.getLogger(__name__)

#: The reason of the `LockLost` that is raised in a body that is asked to stop.
REPLACED = "replaced"
#: How soon a run whose task replaces learns that it is asked to stop, seconds.
NOTICE_WITHIN_S = 1.0
#: The remote control command that has the workers terminate a run: see `worker/control.py`.
TERMINATE = "redislock_terminate"
#: How long a termination may take before the command is sent again, milliseconds.
AGAIN_MS = 30_000


def notice_within_s(options: LockOptions) -> float | None:
    """Return how soon a run must learn that it is asked to stop, seconds; None: it never is."""
    return NOTICE_WITHIN_S if options.on_conflict == "replace" else None


def is_replaced(error: BaseException) -> bool:
    """Whether a body ended because it was asked to stop."""
    return isinstance(error, LockLost) and error.reason == REPLACED


def reason_to_stop(app: Celery, lock_name: str, token: str) -> str | None:
    """Return why the run that holds a lock with this token is asked to stop; None: it is not."""
    successor = runs_of(app, lock_name).successor(token)
    return superseded_reason(lock_name, successor) if successor else None


def end_replaced(task: Task[..., Any], lock: RedisLock) -> Skipped:
    """Store the end of a run that has stopped for another, and return what Celery is told."""
    why = f"replaced by another task under lock {lock.name!r}"
    try:
        why = reason_to_stop(task.app, lock.name, lock.token or "") or why
    except Exception as error:  # noqa: BLE001 - it ends without the name of its successor
        logger.debug("lock %r: who replaces is not known: %s", lock.name, error)
    facts = in_log(lock=lock.name, task=task.name, task_id=task.request.id, action="stopped")
    logger.info("Task %s[%s] stopped: %s", task.name, task.request.id, why, extra=facts)
    if is_stored(task):
        revoke(task, task.request, why)
    return Skipped(why)


def expel(app: Celery, lock_name: str) -> int | None:
    """Have the holder terminated that was asked to stop and has had its time, where its pool can do that.

    Returns:
        Milliseconds until somebody should look again; None: nobody is asked to stop.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """
    runs = runs_of(app, lock_name)
    if not runs.is_stop_wanted():
        return None
    seen = inspect(store_of(provider_of(app).client), lock_name)
    if seen is not None and seen.is_shared:
        # Those who share the lock do not stand in for each other: the run waits until all have ended.
        return FOREIGN_MS
    if seen is not None and seen.holder.metadata.get("task") not in {None, *app.tasks}:
        # The holder is of another app, which may have another broker: that app does it.
        return FOREIGN_MS
    left_ms, holder = runs.expel(AGAIN_MS)
    task_id = holder.metadata.get("id") if holder else None
    if task_id is not None:
        _terminate(app, lock_name, task_id)
    return left_ms


def _terminate(app: Celery, lock_name: str, task_id: str) -> None:
    if not app.conf.worker_enable_remote_control:
        logger.warning(
            "Task %s was asked to stop but keeps lock %r, and is not terminated: "
            "that needs remote control, and worker_enable_remote_control is off",
            task_id,
            lock_name,
        )
        return
    logger.warning(
        "Task %s was asked to stop but keeps lock %r: its worker is told to terminate it, if its pool can",
        task_id,
        lock_name,
    )
    app.control.broadcast(TERMINATE, arguments={"task_id": task_id})
