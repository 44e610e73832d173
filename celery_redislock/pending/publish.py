"""Publish: once a lock is free, its pending run is published, and those that it supersedes end."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from celery import Celery, Task
from kombu.exceptions import ContentDisallowed

from ..config.provider import provider_of
from ..engine.threads import Bell, begin
from ..events import Conflicted, tell
from ..log_fields import in_log
from ..messages.headers import PENDING_HEADER, pending_value
from ..messages.stored_state import StandsForOthers, request_of, revoke
from ..observing import traces
from ..publish_lock.ticket import free_of_message
from .message import signature_of
from .runs import PendingIndex, PendingRun, PendingRuns

logger = logging.getLogger(__name__)

#: How long a task that ends waits for the publication, seconds; it goes on after that.
PUBLISH_S = 10.0
#: How often somebody looks at a lock whose pending runs are those of another app, milliseconds.
FOREIGN_MS = 2000


def runs_of(app: Celery, lock_name: str) -> PendingRuns:
    """Return the pending runs of a lock."""
    return PendingRuns(provider_of(app).client, lock_name)


def index_of(app: Celery) -> PendingIndex:
    """Return the index of the locks that have pending runs."""
    provider = provider_of(app)
    return PendingIndex(provider.client, provider.prefix)


def publish_pending(app: Celery, lock_name: str) -> None:
    """Publish the pending run of each task of a lock if it is free, and store the ends of superseded runs.

    What cannot be done now is left to the workers, who look at the lock later. Anybody may call this at any
    time: of several who do at once, one publishes.

    Raises:
        StoreUnavailable: Redis could not be reached: a worker does what is left later.
    """
    look_again_ms = serve(app, lock_name)
    if look_again_ms is not None:
        index_of(app).schedule(lock_name, look_again_ms)


def publish_pending_apart(app: Celery, lock_name: str) -> None:
    """Do `publish_pending` in a thread, and wait for it for at most `PUBLISH_S`; never raises.

    In the thread of a task that ends, Celery would make this task the parent of what is published.
    """
    done = Bell()
    work = partial(_publish_safely, app, lock_name, done)
    if not begin(work, "redislock-publish"):
        work()
    done.wait(PUBLISH_S)


def _publish_safely(app: Celery, lock_name: str, done: Bell) -> None:
    try:
        publish_pending(app, lock_name)
    except Exception as error:  # noqa: BLE001 - a worker's step does it later
        logger.warning(
            "lock %r: could not publish its pending runs, a worker will do it later: %s", lock_name, error
        )
    finally:
        done.ring()


def serve(app: Celery, lock_name: str) -> int | None:
    """Do what must be done now for the pending runs of a lock.

    Returns:
        Milliseconds until somebody should look again; None: no run is pending.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """
    runs = runs_of(app, lock_name)
    looks = [
        _serve_task(app.tasks[task], runs)
        if task in app.tasks and _may_claim(app.tasks[task], runs)
        else FOREIGN_MS
        for task in sorted(runs.tasks())
    ]
    return min((look for look in looks if look is not None), default=None)


def _may_claim(task: Task[..., Any], runs: PendingRuns) -> bool:
    """Whether some pending run is for this app: a claim would only keep other apps from theirs."""
    if not isinstance(task, StandsForOthers):
        return True
    are_ours = (is_ours(task, run) for run in runs.claimable(task.name))
    # Where there is nothing, the claim tidies up.
    return next(are_ours, True) or any(are_ours)


def is_ours(task: Task[..., Any], run: PendingRun) -> bool:
    """Whether a run of a task is for this app; apps that share a prefix may all have a task of that name."""
    if not isinstance(task, StandsForOthers):
        return True
    try:
        return task.is_for_this_app(*signature_of(task, run).args)
    except ContentDisallowed:
        return False


def _serve_task(task: Task[..., Any], runs: PendingRuns) -> int | None:
    while True:
        claimed = runs.claim(task.name)
        # Lists, not generators: each is done.
        are_left = [not end_superseded(task, runs, run, successor) for successor, run in claimed.superseded]
        ours = [run for run in claimed.to_publish if is_ours(task, run)]
        is_more = [_publish(task, runs, run, claimed.token) for run in ours]
        if any(are_left) or len(ours) < len(claimed.to_publish):
            return FOREIGN_MS
        if not any(is_more):
            return claimed.look_again_ms


def _publish(task: Task[..., Any], runs: PendingRuns, run: PendingRun, token: str) -> bool:
    """Publish a claimed run; return whether another of its task is pending by now."""
    signature = signature_of(task, run)
    pending = pending_value(run.triggered_us, runs.lock_name, token)
    headers = {**(signature.options.get("headers") or {}), PENDING_HEADER: pending}
    # In a thread of ours there is no trace, and the call belongs to that of its trigger.
    with traces.in_trace_of(task.app, signature.options.get("headers")):
        signature.set(headers=headers).apply_async()
    logger.info(
        "Task %s[%s] published: lock %r is free",
        task.name,
        run.id,
        runs.lock_name,
        extra=in_log(lock=runs.lock_name, task=task.name, task_id=run.id, action="published"),
    )
    return runs.confirm(run, token)


def end_superseded(task: Task[..., Any], runs: PendingRuns, run: PendingRun, successor: str) -> bool:
    """End a pending run as `skip` does: its successor has begun, and runs in its place.

    Returns:
        False: the run is another app's, which has its results and ends it later.
    """
    if not is_ours(task, run):
        return False
    reason = superseded_reason(runs.lock_name, successor)
    signature = signature_of(task, run)
    headers = signature.options.get("headers")
    tell(
        Conflicted(
            task,
            run.id,
            runs.lock_name,
            "superseded",
            None,
            reason,
            successor=successor,
            headers=headers,
            is_pending=True,
        )
    )
    revoke(task, request_of(signature.options, task.name, signature.args, signature.kwargs), reason)
    free_of_message(task.app, headers, run.id)
    runs.ended(run)
    return True


def superseded_reason(lock_name: str, successor: str) -> str:
    """Return why a run did not take place."""
    return f"superseded by task {successor}, which runs in its place under lock {lock_name!r}"
