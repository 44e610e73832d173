"""Member run: a worker's moments of a task that belongs to a locked batch, whatever its class."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import uuid4

from celery import Celery, Task
from celery.exceptions import Reject, TaskPredicate

from ..config.provider import provider_of
from ..config.resolution import resolve
from ..conflicts.conflict import Conflict, settle
from ..engine import RedisLock
from ..errors import RedislockError, StoreUnavailable
from ..holder import holder_metadata
from ..messages.headers import BATCH_HEADER
from ..signals import lock_lost
from . import membership
from .member_request import member_request
from .membership import Membership, Note, note_in

logger = logging.getLogger(__name__)

_ATTRIBUTE = "redislock_member"
_MARK = "_knows_batches"


def watch_at_start(sender: Any = None, **_: Any) -> None:
    """At ``worker_init``, before a pool is forked: watch the tasks of the worker."""
    watch(sender.app)


def watch(app: Celery) -> bool:
    """Have every task look whether it runs for a batch, before its body and after it.

    Returns:
        Whether there are tasks that were not watched before.
    """
    return sum(_watch(task) for task in app.tasks.values()) > 0


def _watch(task: Task[..., Any]) -> bool:
    task_class: Any = type(task)
    request = member_request(task.Request)
    if request is task.Request and hasattr(task_class.before_start, _MARK):
        return False
    task.Request = request
    if not hasattr(task_class.before_start, _MARK):
        task_class.before_start = _join_first(task_class.before_start)
    return True


def _join_first(hook: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(hook)
    def before_start(self: Any, task_id: str, args: Any, kwargs: Any) -> Any:
        if BATCH_HEADER in (self.request.headers or {}):
            _enter(self)
        return hook(self, task_id, args, kwargs)

    setattr(before_start, _MARK, True)
    return before_start


def _enter(task: Task[..., Any]) -> None:
    """Count this run as one of its batch; where the lock is somebody else's, do what the policy says.

    Raises:
        Skipped, Retry, LockBusy: The batch has lost its lock to another holder: what Celery is told.
    """
    note = note_in(task.request.headers)
    if note is None or getattr(task.request, _ATTRIBUTE, None) is not None:
        return
    if not note.run:
        note = _with_run(note)
    member = note.delivered(task.app, on_lost=_reporter(task, note))
    try:
        if not member.run(note.ttl_ms, _words(task)):
            _take_again(task, note)
            member.run(note.ttl_ms, _words(task))
    except StoreUnavailable as error:
        logger.warning(
            "Task %s[%s] of batch %s runs uncounted: %s", task.name, task.request.id, note.id, error
        )
    except (TaskPredicate, RedislockError):
        raise
    except BaseException:
        # Interrupted, it would count as one that runs until its lease ends.
        membership.depart(task.app, member, note)
        raise
    present = Membership(task.app, note, task.request)
    setattr(task.request, _ATTRIBUTE, (present, member))
    membership.begin(present)


def _take_again(task: Task[..., Any], note: Note) -> None:
    """Take the lock anew for a batch whose lease ran out, if nobody has it; else settle the conflict."""
    # One run in place of several members, as coalesce would have it, would not be the batch any more.
    policy = "retry" if note.policy == "coalesce" else note.policy
    options = resolve(task.app.conf, task.name, {}, {"on_conflict": policy, "ttl": note.ttl_ms / 1000})
    lock = RedisLock(
        provider_of(task.app).client,
        note.lock,
        note.ttl_ms / 1000,
        metadata={**holder_metadata(task.name, note.id), "call": note.call},
    )
    # The batch may have given the lock back: its last message may have come late, or uncounted.
    holder = lock.attempt(token=note.token, mark=uuid4().hex)
    if holder is None:
        logger.warning(
            "batch %s left lock %r idle for longer than lock_idle, and has taken it again", note.id, note.lock
        )
        return
    settle(task, Conflict.of(task, lock, holder, "", options))


def _reporter(task: Task[..., Any], note: Note) -> Callable[[str], object]:
    def report(reason: str) -> None:
        logger.error("batch %s runs on without its lock %r: %s", note.id, note.lock, reason)
        lock_lost.send(sender=task, lock=RedisLock(provider_of(task.app).client, note.lock), reason=reason)

    return report


def leave(sender: Any = None, retval: Any = None, state: str | None = None, **_: Any) -> None:
    """At ``task_postrun``: count this run no more: all that it was to publish is published and counted."""
    found = getattr(sender.request, _ATTRIBUTE, None) if sender is not None else None
    if found is None:
        return
    present, member = found
    setattr(sender.request, _ATTRIBUTE, None)
    membership.end(present)
    note: Note = present.note
    comes_again = isinstance(retval, Reject) and bool(getattr(retval, "requeue", False))
    if comes_again or (state is None and note.parent not in (0, os.getpid())):
        # A child that is ending: its parent publishes what follows, and then says that it has ended.
        membership.step_aside(member, note, _words(sender))
    else:
        membership.depart(sender.app, member, note)


def _with_run(note: Note) -> Note:
    return Note(**{**note.as_dict(), "run": uuid4().hex})


def _words(task: Task[..., Any]) -> dict[str, str]:
    return holder_metadata(task.name, task.request.id)
