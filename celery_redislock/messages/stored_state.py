"""Stored state: a task that will not run ends with a stored state, and so does what waits for its result.

Nobody else would end it: Celery stores what a run returns or raises. A run may end before its body, a
pending run be superseded, or a call not even be published. In each case the caller, the later members of the
chain and the chord wait for a result, and get one here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery import Task, states
from celery.app.task import Context
from celery.exceptions import TaskRevokedError

from . import sentry

__all__ = ["StandsForOthers", "is_stored", "request_of", "revoke", "store_end"]


class StandsForOthers(Task):
    """A task that only publishes others: if it does not run, those end in its place."""

    abstract = True

    def is_for_this_app(self, *args: Any) -> bool:
        """Whether a call with these arguments is for this app, where several apps have the task."""
        raise NotImplementedError

    def end_others(self, request: Any, reason: str) -> None:
        """End those that the run of this request would have published, as ``REVOKED`` with this reason."""
        raise NotImplementedError


def is_stored(task: Task[..., Any]) -> bool:
    """Whether the end of the run that goes on here is stored: of an eager run only on request."""
    return not task.request.is_eager or bool(task.store_eager_result)


def revoke(task: Task[..., Any], request: Any, reason: str) -> None:
    """End a task that will not run: its state is ``REVOKED`` with the reason.

    Args:
        task: The task.
        request: Of the run that goes on here, or from `request_of`.
        reason: Why it does not run, for whoever asks for the result.
    """
    sentry.close_check_in(request.headers)
    if isinstance(task, StandsForOthers):
        task.end_others(request, reason)
    else:
        store_end(task, request, TaskRevokedError(reason), states.REVOKED)


def store_end(task: Task[..., Any], request: Any, error: Exception, state: str) -> None:
    """Store how a task ended that did not run, for its caller, the later members of its chain, and its chord.

    Args:
        task: The task.
        request: Its request; arguments as in `revoke`.
        error: The result.
        state: ``FAILURE``, which calls the errbacks too, or ``REVOKED``.
    """
    is_ignored = task.ignore_result if request.ignore_result is None else request.ignore_result
    # Not mark_as_revoked: it would leave the rest of a chain PENDING. The rest ends only if an end is stored
    # for the first, too, even where its own result is ignored.
    task.backend.mark_as_failure(
        str(request.id),
        error,
        request=request,
        store_result=not is_ignored or bool(request.chain),
        call_errbacks=state == states.FAILURE,
        state=state,
    )


def request_of(options: Mapping[str, Any], task: str = "", args: Any = (), kwargs: Any = None) -> Context:
    """Return the request that a call's message would have become, as far as the end of the call needs it.

    Args:
        options: Of ``apply_async``; they have the ``task_id``.
        task: Name of the task.
        args: Of the call.
        kwargs: Of the call.
    """
    errbacks = options.get("link_error")
    return Context(
        id=options["task_id"],
        task=task,
        args=args,
        kwargs=kwargs or {},
        group=options.get("group_id"),
        errbacks=errbacks if isinstance(errbacks, list | None) else [errbacks],
        delivery_info={},
        **{name: options.get(name) for name in _AS_IN_THE_OPTIONS},
    )


_AS_IN_THE_OPTIONS = (
    "headers",
    "root_id",
    "parent_id",
    "group_index",
    "chord",
    "chain",
    "ignore_result",
    "reply_to",
)
