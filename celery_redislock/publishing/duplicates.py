"""Duplicates: a call is published, or meets an equal call, and `lock_on_conflict` decides."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery import states
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult

from ..config.call import Call
from ..conflicts.conflict import Conflict, announce
from ..errors import RedislockError
from ..pending.publish import superseded_reason
from ..pending.record import record_call
from .publication import Publication, Send

logger = logging.getLogger(__name__)


def publish(call: Call, options: dict[str, Any], send: Send) -> AsyncResult[Any]:
    """Publish a call under its publish lock, or do what `lock_on_conflict` says about the equal one.

    Args:
        call: The call; its scope is not "run".
        options: Celery's options of the call, all by name.
        send: Celery's own ``apply_async``.

    Raises:
        LockBusy: An equal call waits, or runs, and the policy is "fail".
        StoreUnavailable: Redis could not be reached, see `lock_on_error`.
        LockKeyError, TypeError: The arguments give no name.
    """
    publication = Publication(call, options)
    try:
        return _publish(publication, send)
    except RedislockError:
        raise
    except BaseException:
        # Interrupted: a message that was not sent must not keep others from being published.
        publication.give_up()
        raise


def _publish(publication: Publication, send: Send) -> AsyncResult[Any]:
    try:
        while (conflict := publication.take()) is not None and not conflict.shadow:
            answer = DUPLICATES[conflict.options.on_conflict](publication, conflict)  # type: ignore[index]
            if answer is not None:
                return answer
    except RedislockError as error:
        if not publication.is_sent_by_celery:
            raise
        # Celery would take it for a failure of the task that has just succeeded.
        logger.warning("Task %s[%s] is not published: %s", publication.task.name, publication.task_id, error)
        publication.end(error, states.FAILURE)
        return publication.result()
    return publication.send(send)


def skip(publication: Publication, conflict: Conflict) -> AsyncResult[Any]:
    """Publish nothing, and return the result of the call that is there.

    If the caller gave this call an id, ``REVOKED`` is stored under it, for who waits for that.
    """
    announce(conflict, "skip", is_published=False)
    existing = conflict.holder.metadata.get("id")
    # Another program that holds the lock has no result to share.
    if existing is None or (publication.is_fixed and existing != publication.task_id):
        publication.end(TaskRevokedError(conflict.reason), states.REVOKED)
    return publication.is_answered_by(existing)


def fail(_: Publication, conflict: Conflict) -> AsyncResult[Any]:
    """Publish nothing, and raise `LockBusy`."""
    announce(conflict, "fail", is_published=False)
    raise conflict.busy()


def coalesce(publication: Publication, conflict: Conflict) -> AsyncResult[Any] | None:
    """Publish nothing now: record one pending run for all calls that met the one that runs.

    A call that waits to begin already is that pending run: its message cannot be changed any more.

    Returns:
        The result of the run that stands for this call; None: the lock is free by now, so try again.
    """
    holder = conflict.holder
    if holder.since is None and "id" in holder.metadata:
        return skip(publication, conflict)
    recorded = record_call(
        publication.task,
        publication.signature(),
        conflict.lock_name,
        conflict.lease_left,
        conflict.options.keep,
    )
    if recorded.is_free:
        return None
    announce(conflict, "coalesce", is_published=False)
    if not recorded.successor:
        return publication.result(recorded.behind)
    if publication.is_fixed:
        reason = superseded_reason(conflict.lock_name, recorded.successor)
        publication.end(TaskRevokedError(reason), states.REVOKED)
    return publication.is_answered_by(recorded.successor)


#: What each policy does about a call that meets an equal one when it is published.
DUPLICATES: dict[str, Callable[[Publication, Conflict], AsyncResult[Any] | None]] = {
    "skip": skip,
    "fail": fail,
    "coalesce": coalesce,
}
