"""Redelivery: a message is delivered again while an earlier run of it may still hold the lock.

A broker that lost a worker, or whose `visibility_timeout` has passed, delivers a message again: the same
task id, another run. Whether the first run is alive cannot be told from its lock. If it is dead, to skip the
copy would lose the task; if it lives, to run the copy would run the task twice at once. So the copy is put
off until the lease ends. By then the first run has finished, and the copy is dropped; or it is dead, and the
copy runs.

A message is a copy if the broker marks it as redelivered, or if a copy was published again as it. The
task's id alone does not make it one: two calls with one id are two calls. A task that was published again
by us (`retry`, `replace`, after an outage) is no copy either, but may meet a lock that its earlier run could
not give back: it waits too.
"""

from __future__ import annotations

import logging
import random
from typing import Any, NoReturn

from celery import Task, states

from ..config.several_locks import SeveralLocks
from ..engine import RedisLock
from ..events import Conflicted, Orphaned, tell
from ..holder import Holder
from ..log_fields import in_log, of_holder
from ..messages.celery_exceptions import Done, PutOff
from ..messages.headers import COPY_HEADER, OUTAGE_HEADER, PUT_OFF_HEADER
from ..messages.republish import publish_again
from .retrying import Attempts

logger = logging.getLogger(__name__)

#: Up to this length the rest of a lease is waited for in the worker's slot, not at the broker, seconds.
SHORT_S = 1.0

#: For how long a finished task is remembered under its lock where a copy of its message may come, seconds.
#: Redis as a broker delivers after an hour again what was not acknowledged (`visibility_timeout`).
COPY_MAY_COME_S = 3600.0
#: The same where the message was acknowledged before the task began, seconds: a copy is on its way by then.
COPY_IS_ON_ITS_WAY_S = 60.0

#: A task with one of these was published again before it ran to its end: its lock may be left behind.
_OWN_HEADERS = frozenset({PUT_OFF_HEADER, OUTAGE_HEADER})
#: Say how long a message has waited for the end of a lease of its own earlier run.
_WAITED_FOR_ITSELF = (COPY_HEADER, PUT_OFF_HEADER)


def mark(request: Any) -> None:
    """Write into the headers that this delivery is a copy: what is published of it again is one too."""
    request.headers.setdefault(COPY_HEADER, Attempts().as_header())


def its_own(task: Task[..., Any], lock: RedisLock, holder: Holder) -> Holder | None:
    """Return who of those that have the lock is, or may be, another run of this very message.

    Args:
        task: The task that runs here.
        lock: That it has not got.
        holder: Who has it, or one of them.
    """
    request = task.request
    if not _may_have_run(request):
        return None
    if holder.metadata.get("id") == request.id:
        return holder
    return next((each for each in lock.holders() if each.metadata.get("id") == request.id), None)


def give_way_to_itself(task: Task[..., Any], lock: RedisLock | SeveralLocks) -> None:
    """Put off a message that has got a shared lock beside another run of itself.

    A lock that one run holds alone keeps the two apart. A shared one has room for both.

    Raises:
        PutOff: The other run may be alive. The lock was given back, and the message was published again.
        StoreUnavailable: Redis could not be reached.
    """
    locks = lock.locks if isinstance(lock, SeveralLocks) else (lock,)
    if not any(each.shared for each in locks) or not _may_have_run(task.request):
        return
    for each in locks:
        for holder in each.holders() if each.shared else ():
            if holder.metadata.get("id") == task.request.id and holder.fencing_token != each.fencing_token:
                lock.release(unused=True)
                _publish_after(task, each, holder)


def _may_have_run(request: Any) -> bool:
    """Whether a run of this message may have begun before this one."""
    comes_by_itself = request.retries or request.replaced_task_nesting
    return _is_copy(request) or bool(comes_by_itself) or not _OWN_HEADERS.isdisjoint(request.headers or {})


def put_off(task: Task[..., Any], lock: RedisLock | SeveralLocks, holder: Holder, token: str | None) -> None:
    """Wait for the end of a short lease, else publish the message again to run after the lease.

    Args:
        task: The task that runs here.
        lock: That it has not got.
        holder: The earlier run of the message.
        token: Of the delivery.

    Returns:
        When the lock is held: the first run has ended.

    Raises:
        PutOff: The message was published again.
    """
    left_s = _lease_left_s(holder)
    take = lock.take if isinstance(lock, SeveralLocks) else lock.attempt
    if left_s <= SHORT_S and take(blocking=True, timeout=left_s + 0.1, token=token) is None:
        (header, before), headers = _attempts(task), task.request.headers or {}
        headers[header] = before.after(left_s).as_header()
        return
    _publish_after(task, lock.met if isinstance(lock, SeveralLocks) else lock, holder)


def _publish_after(task: Task[..., Any], lock: RedisLock, holder: Holder) -> NoReturn:
    """Publish the message again, to run after the lease of its earlier run.

    Raises:
        PutOff: Always.
    """
    name, left_s, (header, before) = lock.name, _lease_left_s(holder), _attempts(task)
    delay_s = left_s + random.uniform(0, 1)  # noqa: S311
    attempts = before.after(delay_s)
    logger.info(
        "Task %s[%s] was delivered again while it holds lock %r: delayed by %.1f s (delay %d)",
        task.name,
        task.request.id,
        name,
        delay_s,
        attempts.count,
        extra=_facts(task, "put_off", lock=name, **of_holder(holder)),
    )
    reason = f"delayed: an earlier delivery of this task may still hold lock {name!r}"
    tell(Conflicted(task, str(task.request.id), name, "put_off", holder, reason))
    publish_again(task, delay_s, header, attempts.as_header())
    raise PutOff(reason)


def _lease_left_s(holder: Holder) -> float:
    return holder.lease_left if holder.lease_left is not None else SHORT_S


def _attempts(task: Task[..., Any]) -> tuple[str, Attempts]:
    """Return the header that says how long the message has waited for itself, and what it says."""
    header = COPY_HEADER if _is_copy(task.request) else PUT_OFF_HEADER
    return header, Attempts.in_headers(task.request.headers, header)


def drop_if_done(task: Task[..., Any], request: Any, lock: RedisLock | SeveralLocks) -> None:
    """End a copy that has got the lock if the task was finished under this lock just before.

    Raises:
        Done: It was.
    """
    if not _is_copy(request) or not lock.was_done(str(request.id)):
        return
    logger.info(
        "Task %s[%s] was delivered again after it had finished: dropped",
        task.name,
        request.id,
        extra=_facts(task, "dropped", lock=lock.name),
    )
    raise Done("an earlier delivery of this task has finished")


def tell_if_orphaned(task: Task[..., Any], request: Any, lock: RedisLock | SeveralLocks) -> None:
    """Tell that the lease of an earlier run has ended in place of the run, if this message waited for that.

    An earlier run that has finished has given its lock back; one whose end nobody knows has not.

    Args:
        task: The task.
        request: Of the run that has the lock now.
        lock: The lock.
    """
    waited_s = max(Attempts.in_headers(request.headers, name).waited_s for name in _WAITED_FOR_ITSELF)
    # A lock that was lost before the body began (`begin_again`) was not waited for.
    if waited_s > 0 and not _has_state(task, request, *states.READY_STATES, states.RETRY):
        tell(Orphaned(task, str(request.id), lock.name, "lease"))


def _has_state(task: Task[..., Any], request: Any, *wanted: str) -> bool:
    try:
        return task.AsyncResult(str(request.id)).state in wanted
    except Exception:  # noqa: BLE001 - a backend that cannot tell
        return False


def remembered_s(task: Task[..., Any], request: Any) -> float:
    """Return for how long a finished task is remembered under its lock, seconds: while a copy may come.

    A message is delivered again while it is not acknowledged: until its task has ended with `acks_late`, and
    while it waits for its ETA. Of one that is a copy itself there are others.
    """
    may_come = task.acks_late or request.eta is not None or _is_copy(request)
    return COPY_MAY_COME_S if may_come else COPY_IS_ON_ITS_WAY_S


def drop_if_succeeded(task: Task[..., Any]) -> None:
    """End a copy that meets the lock of another task if its own task has succeeded.

    Raises:
        Done: It has.
    """
    if not _is_copy(task.request):
        return
    # If the result backend cannot tell, the copy runs.
    if _has_state(task, task.request, states.SUCCESS):
        logger.info(
            "Task %s[%s] was delivered again after it had succeeded: dropped",
            task.name,
            task.request.id,
            extra=_facts(task, "dropped"),
        )
        raise Done("an earlier delivery of this task has finished")


def begin_again(task: Task[..., Any]) -> NoReturn:
    """Publish a task again that lost its lock before its body began: nothing has been done yet.

    Raises:
        PutOff: Always.
    """
    logger.info(
        "Task %s[%s] is published again: its lock was lost before it began",
        task.name,
        task.request.id,
        extra=_facts(task, "put_off"),
    )
    publish_again(task, 0, COPY_HEADER, Attempts().after(0).as_header())
    raise PutOff("delayed: the lock was lost before the body began")


def _facts(task: Task[..., Any], action: str, **more: Any) -> dict[str, Any]:
    """Return what the log line of the task that runs here has for machines."""
    return in_log(task=task.name, task_id=str(task.request.id), action=action, **more)


def _is_copy(request: Any) -> bool:
    redelivered = (request.delivery_info or {}).get("redelivered")
    return bool(redelivered) or COPY_HEADER in (request.headers or {})
