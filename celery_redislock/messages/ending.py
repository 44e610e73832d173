"""Revocation: a task that will not run ends as ``REVOKED`` with a reason, and so does what waits for it."""

from __future__ import annotations

from typing import Any

from celery import Task, states
from celery.exceptions import TaskRevokedError

from . import sentry


def is_stored(task: Task[..., Any]) -> bool:
    """Whether the end of the run that goes on here is stored: of an eager one if that is asked for."""
    return not task.request.is_eager or bool(task.store_eager_result)


def revoke(task: Task[..., Any], request: Any, reason: str) -> None:
    """Store the end of a task that will not run.

    Its result, and those of the later members of its chain, are ``REVOKED`` with the reason, and its
    chord is told, so that nobody waits for what will not come.

    Args:
        task: The task.
        request: Its request, or what of it could be kept.
        reason: For whoever asks for the result.

    A task that runs in place of others says itself how those end, with `redislock_revoke(request, reason)`.
    """
    sentry.close_check_in(request.headers)
    revoke_others = getattr(task, "redislock_revoke", None)
    if revoke_others is not None:
        revoke_others(request, reason)
        return
    ignored = task.ignore_result if request.ignore_result is None else request.ignore_result
    # mark_as_revoked would leave the rest of a chain PENDING for ever, and so would a member that
    # stores nothing: Celery tells the rest only what it stores for the first.
    task.backend.mark_as_failure(
        str(request.id),
        TaskRevokedError(reason),
        request=request,
        store_result=not ignored or bool(request.chain),
        call_errbacks=False,
        state=states.REVOKED,
    )
