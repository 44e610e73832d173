"""Attempt: a run asks for its lock, and waits for a holder that is no conflict: one about to give it back."""

from __future__ import annotations

from typing import Any

from celery import Task, states

from ..config.options import LockOptions
from ..conflicts import redelivery
from ..engine import RedisLock
from ..holder import Holder
from ..messages.headers import TOKEN_HEADER

#: How long a run may take from storing its result to giving the lock back, seconds: whoever read the
#: result and comes at once waits so long before it counts as a conflict.
RETURNING_S = 0.25
#: The same for what the run itself has published: its chain's next member, its callback, seconds.
CONTINUATION_S = 5.0


def attempt(task: Task[..., Any], lock: RedisLock, options: LockOptions) -> Holder | None:
    """Take the lock; return who has it if that fails and is a conflict."""
    request = task.request
    token = None if request.is_eager else request.get(TOKEN_HEADER)
    wait_s = options.wait_ms / 1000
    holder = lock.attempt(blocking=wait_s > 0, timeout=wait_s, token=token)
    if holder is None or request.is_eager:
        return holder
    if redelivery.may_be_its_own(task, holder):
        redelivery.put_off(task, lock, holder, token)
        return None
    longest_s = _until_returned(task, holder)
    if longest_s:
        holder = lock.attempt(blocking=True, timeout=longest_s, token=token)
    return holder


def _until_returned(task: Task[..., Any], holder: Holder) -> float:
    """Return how long to wait for a holder that is about to give the lock back, seconds; 0: it is not.

    Celery publishes what comes next, and stores the result, before it calls `after_return`: a chain's next
    member, or ``get()`` and then ``delay()``, must not meet the lock of the run that they follow.
    """
    holder_id = holder.metadata.get("id")
    if holder_id is None:
        return 0.0
    if holder_id == task.request.parent_id:
        return CONTINUATION_S
    try:
        return RETURNING_S if task.AsyncResult(holder_id).state in states.READY_STATES else 0.0
    except Exception:  # noqa: BLE001 - a backend that cannot tell: the usual conflict
        return 0.0
