"""Member run: a child counts the run of a member before its body and after it, whatever the task's class."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from celery import Celery, Task
from celery.exceptions import Reject, TaskPredicate

from ..config.provider import provider_of
from ..config.resolution import resolve
from ..config.sharing import ALONE
from ..conflicts.conflict import Conflict, settle
from ..engine import Loss, RedisLock
from ..errors import RedislockError, StoreUnavailable
from ..events import Lapsed, Lost, tell
from ..holder import holder_metadata
from ..log_fields import in_log
from ..messages.headers import BATCH_HEADER
from ..worker import marked_messages
from . import counting
from .counting import Membership
from .member_request import member_request
from .note import BatchNote, note_in

logger = logging.getLogger(__name__)

#: Of a task's request: its membership, and the member that Redis counts.
_ATTRIBUTE = "redislock_member"


def watch_at_start(sender: Any = None, **_: Any) -> None:
    """At ``worker_init``, before a pool is forked: watch the tasks of the worker."""
    watch(sender.app)


def watch(app: Celery) -> bool:
    """Have every task of an app look, before its body, whether it is a member of a batch.

    Args:
        app: The app.

    Returns:
        Whether there are tasks that did not do so before.
    """
    # After the receivers of tasks: what they publish is counted.
    marked_messages.hear(BATCH_HEADER, begin=_enter, end=(leave,))
    return sum(_watch(task) for task in app.tasks.values()) > 0


def _watch(task: Task[..., Any]) -> bool:
    request = member_request(task.Request)
    is_new = request is not task.Request
    task.Request = request
    return marked_messages.watch(type(task)) or is_new


def _enter(task: Task[..., Any]) -> None:
    """Count this run as one of its batch; if another holder has the lock, do what the policy says.

    Raises:
        Skipped, Retry, LockBusy: The batch has lost its lock to another holder: what Celery is told.
    """
    note = note_in(task.request.headers)
    if note is None or getattr(task.request, _ATTRIBUTE, None) is not None:
        return
    if not note.run:
        note = note.of_delivery(note.parent)
    member = note.delivered(task.app, on_lost=_reporter(task, note))
    try:
        if not member.run(note.ttl_ms, _metadata(task)):
            _take_again(task, note)
            member.run(note.ttl_ms, _metadata(task))
    except StoreUnavailable as error:
        logger.warning(
            "Task %s[%s] of batch %s runs, but could not be counted: %s",
            task.name,
            task.request.id,
            note.id,
            error,
        )
    except (TaskPredicate, RedislockError):
        raise
    except BaseException:
        # When this is interrupted the member may be counted already, and would be until its lease ends.
        counting.depart(task.app, member, note)
        raise
    here = Membership(task.app, note, task.request)
    setattr(task.request, _ATTRIBUTE, (here, member))
    counting.begin(here)


def _take_again(task: Task[..., Any], note: BatchNote) -> None:
    """Take the lock again for a batch whose lease has ended, or settle the conflict with its new holder."""
    tell(Lapsed(task, str(task.request.id), note.lock, note.idle_ms / 1000))
    # With "coalesce" one run would stand for several members: that would not be the batch any more.
    policy = "retry" if note.policy == "coalesce" else note.policy
    terms = {**ALONE, "on_conflict": policy, "ttl": note.ttl_ms / 1000}
    options = resolve(task.app.conf, task.name, {}, terms)
    lock = RedisLock(
        provider_of(task.app).client,
        note.lock,
        note.ttl_ms / 1000,
        metadata={**holder_metadata(task.name, note.id), "call": note.call},
    )
    # A mark of its own: the batch has given the lock back if this message comes late or is not counted.
    holder = lock.attempt(token=note.token, mark=uuid4().hex)
    if holder is None:
        logger.warning(
            "batch %s lost lock %r while none of its members ran, and has taken it again: raise lock_idle",
            note.id,
            note.lock,
        )
        return
    settle(Conflict.of(task, lock, holder, "", options))


def _reporter(task: Task[..., Any], note: BatchNote) -> Callable[[Loss], object]:
    # Now: in the thread that reports the task has no request.
    task_id = str(task.request.id)

    def report(loss: Loss) -> None:
        facts = in_log(lock=note.lock, task=task.name, task_id=task_id, action="lost", reason=loss.reason)
        logger.error("batch %s continues without its lock %r: %s", note.id, note.lock, loss.text, extra=facts)
        lock = RedisLock(provider_of(task.app).client, note.lock)
        tell(Lost(task, task_id, lock, loss.reason, loss.text))

    return report


def leave(sender: Any = None, retval: Any = None, state: str | None = None, **_: Any) -> None:
    """At ``task_postrun``: the run has ended, and what it publishes is counted: stop counting the run."""
    found = getattr(sender.request, _ATTRIBUTE, None) if sender is not None else None
    if found is None:
        return
    here, member = found
    setattr(sender.request, _ATTRIBUTE, None)
    counting.end(here)
    note: BatchNote = here.note
    comes_again = isinstance(retval, Reject) and bool(getattr(retval, "requeue", False))
    if comes_again or (state is None and note.parent not in (0, os.getpid())):
        # This child is ending: its parent publishes what follows, and then has the member depart.
        counting.step_aside(member, note, _metadata(sender))
    else:
        counting.depart(sender.app, member, note)


def _metadata(task: Task[..., Any]) -> dict[str, str]:
    return holder_metadata(task.name, task.request.id)
