"""Acquisition: a run takes its lock, or settles why it cannot.

A holder that is about to give the lock back is no conflict: the run waits for it. Nor is an earlier delivery
of the same message: see ``conflicts/redelivery.py``.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import Any

from celery import Task, states

from ..config.call import Call
from ..config.options import LockOptions
from ..config.several_locks import SeveralLocks
from ..conflicts import redelivery
from ..conflicts.conflict import Conflict, announce, settle
from ..engine import RedisLock
from ..holder import Holder
from ..messages.celery_exceptions import LockFreed
from ..messages.headers import (
    COPY_HEADER,
    OF_EARLIER_TRIES,
    PENDING_HEADER,
    PUT_OFF_HEADER,
    TOKEN_HEADER,
)
from ..pending.record import may_record, run_began
from ..pending.withdrawal import withdraw_here


class Outcome(Enum):
    """How taking a lock has ended, where it has not ended the run: that is an exception for Celery."""

    LOCKED = "the body runs, with its lock"
    UNLOCKED = "the body runs without a lock"
    FREE_AGAIN = "the lock became free before anything was recorded: take it"


#: How long a run may take from storing its result to giving the lock back, seconds. Who has read the result
#: and comes at once waits so long before it counts as a conflict.
RETURNING_S = 0.25
#: The same for what the run itself has published: its chain's next member, its callback, seconds.
CONTINUATION_S = 5.0
#: So many of those who share a lock are asked whether they have returned: each costs the result backend a
#: question.
LOOKED_AT = 10


def attempt(
    task: Task[..., Any], request: Any, lock: RedisLock | SeveralLocks, options: LockOptions
) -> Holder | None:
    """Take the lock; return who has it, or one of them, if that fails and is a conflict.

    Raises:
        PutOff: An earlier delivery of the message may hold it still.
        StoreUnavailable: Redis could not be reached.
        LockLost: The lock was taken, and lost at once.
    """
    token = None if request.is_eager else getattr(request, TOKEN_HEADER, None)
    take = lock.take if isinstance(lock, SeveralLocks) else lock.attempt
    if options.wait_ms:
        holder = take(blocking=True, timeout=options.wait_ms / 1000, token=token)
    else:
        holder = take(token=token)
    if request.is_eager:
        return holder
    if holder is None:
        if isinstance(lock, SeveralLocks) or lock.shared:
            redelivery.give_way_to_itself(task, lock)
        return None
    busy = lock.met if isinstance(lock, SeveralLocks) else lock
    own = redelivery.its_own(task, busy, holder)
    if own is not None:
        redelivery.put_off(task, lock, own, token)
        return None
    longest_s = _until_returned(task, _holders_of(busy, holder))
    if longest_s:
        holder = take(blocking=True, timeout=longest_s, token=token)
    return holder


def _holders_of(lock: RedisLock, holder: Holder) -> list[Holder]:
    """Return who has a lock, as far as a caller needs to know that wants to share it."""
    # Who wants it alone has to wait for all of them: that one of several is about to end is no help.
    return lock.holders() if lock.shared else [holder]


def _until_returned(task: Task[..., Any], holders: list[Holder]) -> float:
    """Return how long to wait for a holder that is about to give the lock back, seconds; 0: none is.

    Celery publishes what comes next, and stores the result, before it calls `after_return`: a chain's next
    member, or ``get()`` and then ``delay()``, must not meet the lock of the run that they follow.
    """
    ids = [holder.metadata["id"] for holder in holders if "id" in holder.metadata]
    if task.request.parent_id in ids:
        return CONTINUATION_S
    try:
        is_returning = any(task.AsyncResult(each).state in states.READY_STATES for each in ids[:LOOKED_AT])
    except Exception:  # noqa: BLE001 - a backend that cannot tell: the usual conflict
        return 0.0
    return RETURNING_S if is_returning else 0.0


def confirm(task: Task[..., Any], request: Any, lock: RedisLock | SeveralLocks, options: LockOptions) -> None:
    """Confirm that a call which has just got its lock is still to run; its retries begin to count anew.

    Raises:
        Obsolete: Another message of the task counts, or another run stands for it.
        Done: The task was finished by an earlier delivery.
        StoreUnavailable: Redis could not be reached.
    """
    headers = request.headers
    if isinstance(lock, SeveralLocks) or lock.shared:
        # None can be pending. One that was before the task had such locks begins now, and is forgotten.
        withdraw_here(task)
    elif lock.has_pending or PENDING_HEADER in headers or may_record(options):
        run_began(task, request, lock, options)
        headers = request.headers
    redelivery.drop_if_done(task, request, lock)
    if COPY_HEADER in headers or PUT_OFF_HEADER in headers:
        redelivery.tell_if_orphaned(task, request, lock)
    for header in OF_EARLIER_TRIES:
        headers.pop(header, None)


def settle_conflict(
    call: Call, lock: RedisLock | SeveralLocks, holder: Holder, *, has_ticket: bool, asked_at: float
) -> Outcome:
    """Do what the policy of a call says about the holder of its lock.

    Args:
        call: The call.
        lock: That it has not got; of several it names the one that was busy.
        holder: Who has it.
        has_ticket: The call came with a publish lock. It was accepted when it was published: it may have to
            wait, but it is not dropped.
        asked_at: When it has asked for the lock first, by `now`.

    Returns:
        ``UNLOCKED`` with `lock_mode` "shadow", or ``FREE_AGAIN``.

    Raises:
        Skipped, ComesAgain, Retry, LockBusy, Obsolete, Done: What Celery is told.
    """
    task, options = call.task, call.plan.options
    policy = options.on_conflict
    if has_ticket:
        redelivery.drop_if_succeeded(task)
        options = replace(options, on_conflict="retry", retry_for_ms=None)
    busy = lock.met if isinstance(lock, SeveralLocks) else lock
    conflict = Conflict.of(task, busy, holder, call.args_hash, options, asked_at)
    if not conflict.shadow:
        try:
            settle(conflict)
        except LockFreed:
            return Outcome.FREE_AGAIN
    announce(conflict, policy if isinstance(policy, str) else "callable")
    return Outcome.UNLOCKED
