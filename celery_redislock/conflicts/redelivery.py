"""Redelivery: a second delivery of a task whose first one may still run, or is done already.

A broker that lost a worker, or a `visibility_timeout` that passed, delivers a message again: same
task id, another run. The lock of the first run is still there, and whether that run is alive cannot
be told. To skip the copy would lose the task if the first run is dead; to run it would run the
task twice at once if it lives. So the copy is put off until the lease ends: then the first run has
finished, and the copy is dropped; or it is dead, and the copy runs.

A copy is what the broker marks as redelivered, and what became of it. The task's id alone makes none: two
calls that were given one id are two calls. A task that comes again by itself (`retry`, `replace`, after an
outage) is no copy either, but may meet a lock that its earlier run could not give back: it waits too.
"""

from __future__ import annotations

import logging
import random
from typing import Any, NoReturn

from celery import Task, states

from ..engine import RedisLock
from ..holder import Holder
from ..messages.headers import COPY_HEADER, OUTAGE_HEADER, PUT_OFF_HEADER
from ..messages.outcomes import Done, PutOff
from ..messages.republish import publish_again

logger = logging.getLogger(__name__)

#: So much of a lease is waited for in the worker's slot rather than at the broker, seconds.
SHORT_S = 1.0


def mark(request: Any) -> None:
    """Note in the headers that this delivery is a copy: what is published of it again is one too."""
    if (request.delivery_info or {}).get("redelivered"):
        request.headers.setdefault(COPY_HEADER, 0)


def may_be_its_own(task: Task[..., Any], holder: Holder) -> bool:
    """Whether the lock is, or may be, that of another run of this very message."""
    request = task.request
    if holder.metadata.get("id") != request.id:
        return False
    comes_by_itself = request.retries or request.replaced_task_nesting
    return _is_copy(request) or bool(comes_by_itself) or not _OWN_HEADERS.isdisjoint(request.headers or {})


def put_off(task: Task[..., Any], lock: RedisLock, holder: Holder, token: str | None) -> None:
    """Wait for the end of a short lease, else have the copy delivered again after it.

    Returns:
        When the lock is held: the first run has ended.

    Raises:
        PutOff: The copy was published again.
    """
    left_s = holder.lease_left if holder.lease_left is not None else SHORT_S
    if left_s <= SHORT_S and lock.attempt(blocking=True, timeout=left_s + 0.1, token=token) is None:
        return
    header = COPY_HEADER if _is_copy(task.request) else PUT_OFF_HEADER
    count = int((task.request.headers or {}).get(header, 0)) + 1
    delay_s = left_s + random.uniform(0, 1)  # noqa: S311
    logger.info(
        "Task %s[%s] delivered again while it holds lock %r: put off for %.1f s (time %d)",
        task.name,
        task.request.id,
        lock.name,
        delay_s,
        count,
    )
    publish_again(task, delay_s, header, count)
    raise PutOff(f"put off: an earlier delivery of this task may still hold lock {lock.name!r}")


def drop_if_done(task: Task[..., Any], lock: RedisLock) -> None:
    """End this run if it is a copy of a task that was finished: nothing is to be done under the lock.

    Raises:
        Done: It is.
    """
    if not _is_copy(task.request) or lock.last_done != task.request.id:
        return
    logger.info("Task %s[%s] delivered again after it was finished: dropped", task.name, task.request.id)
    raise Done("an earlier delivery of this task was finished")


def drop_if_answered(task: Task[..., Any]) -> None:
    """Drop a copy of a task that succeeded, when it meets the lock of another.

    Raises:
        Done: It is.
    """
    if not _is_copy(task.request):
        return
    try:
        state = task.AsyncResult(str(task.request.id)).state
    except Exception:  # noqa: BLE001 - a backend that cannot tell: it runs once more
        return
    if state == states.SUCCESS:
        logger.info("Task %s[%s] delivered again after it had succeeded: dropped", task.name, task.request.id)
        raise Done("an earlier delivery of this task was finished")


def begin_again(task: Task[..., Any]) -> NoReturn:
    """Have a task delivered again that lost its lock before its body began: nothing has been done yet.

    Raises:
        PutOff: Always.
    """
    logger.info("Task %s[%s] comes again: its lock was lost before it began", task.name, task.request.id)
    publish_again(task, 0, COPY_HEADER, 1)
    raise PutOff("put off: the lock was lost before the body began")


def _is_copy(request: Any) -> bool:
    redelivered = (request.delivery_info or {}).get("redelivered")
    return bool(redelivered) or COPY_HEADER in (request.headers or {})


#: Of a task that comes again though it has not run, or not to its end: its own lock may be left behind.
_OWN_HEADERS = frozenset({PUT_OFF_HEADER, OUTAGE_HEADER})
