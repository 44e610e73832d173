"""Wanted: a call while it is wanted: how Redis keeps it, how it is published, how it ends if superseded."""

from __future__ import annotations

import json
import logging
from base64 import b64decode, b64encode
from functools import partial
from typing import Any

from celery import Celery, Task
from kombu import serialization
from kombu.exceptions import ContentDisallowed

from ..config.provider import provider_of
from ..engine.threads import Bell, begin
from ..messages.ending import StandsForOthers, request_of, revoke
from ..messages.headers import PENDING_HEADER, pending_in, pending_value
from ..messages.republish import as_it_was
from ..publish_lock import ticket as queued
from .runs import PendingIndex, PendingRun, PendingRuns

logger = logging.getLogger(__name__)

#: How long a publication may take before the task that ends here goes on without it, seconds.
PUBLISH_S = 10.0
#: What another app wants under a lock of ours is looked at so often, milliseconds.
FOREIGN_MS = 2000


def runs_of(app: Celery, lock_name: str) -> PendingRuns:
    """Return the wanted runs of a lock."""
    return PendingRuns(provider_of(app).client, lock_name)


def index_of(app: Celery) -> PendingIndex:
    """Return the index of the locks of which runs are wanted."""
    provider = provider_of(app)
    return PendingIndex(provider.client, provider.prefix)


def run_of_request(task: Task[..., Any]) -> PendingRun:
    """Return the task that runs here as a run that is wanted: with its id, options and place in a canvas."""
    request = task.request
    met = int(pending_in(request.headers).get("triggered_us", 0))
    return run_of_signature(task, as_it_was(task), met)


def run_of_signature(task: Task[..., Any], signature: Any, met: int = 0) -> PendingRun:
    """Return a call that was not published as a run that is wanted.

    Args:
        task: The task.
        signature: Of the call; its options have the ``task_id``.
        met: When its trigger met the lock, microseconds of the server; 0: now.
    """
    serializer = signature.options.get("serializer") or task.serializer or task.app.conf.task_serializer
    content_type, encoding, body = serialization.dumps(dict(signature), serializer=serializer)
    data = body.encode() if isinstance(body, str) else bytes(body)
    message = json.dumps([content_type, encoding, b64encode(data).decode()])
    expires = signature.options.get("expires", task.expires) is not None
    return PendingRun(task.name, str(signature.options["task_id"]), message.encode(), met, expires)


def publish_what_is_wanted(app: Celery, lock_name: str) -> None:
    """Publish the runs that are wanted of a lock if it is free, and store the ends of superseded ones.

    What cannot be done here and now is noted for the workers to look at. May be called by anyone at any
    time: of several who do it at once one publishes.

    Raises:
        StoreUnavailable: Redis could not be reached: what is left is done by a worker later.
    """
    look_again_ms = serve(app, lock_name)
    if look_again_ms is not None:
        index_of(app).schedule(lock_name, look_again_ms)


def publish_apart(app: Celery, lock_name: str) -> None:
    """Do `publish_what_is_wanted` in a thread, and wait for it, but not for ever; never raises.

    Celery would make the task that ends here the parent of what is published in its thread.
    """
    done = Bell()
    work = partial(_publish_safely, app, lock_name, done)
    if not begin(work, "redislock-wanted"):
        work()
    done.wait(PUBLISH_S)


def _publish_safely(app: Celery, lock_name: str, done: Bell) -> None:
    try:
        publish_what_is_wanted(app, lock_name)
    except Exception as error:  # noqa: BLE001 - a worker's step does it later
        logger.warning("lock %r: what is wanted of it is published later: %s", lock_name, error)
    finally:
        done.ring()


def serve(app: Celery, lock_name: str) -> int | None:
    """Do what is to be done for the wanted runs of a lock.

    Returns:
        Milliseconds until somebody should look again; None: there is nothing to look for.

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
    """Whether there is something for us. What is only another app's is not claimed: it would have to wait."""
    if not isinstance(task, StandsForOthers):
        return True
    are_ours = (is_ours(task, run) for run in runs.claimable(task.name))
    # Where there is nothing, the claim tidies up.
    return next(are_ours, True) or any(are_ours)


def is_ours(task: Task[..., Any], run: PendingRun) -> bool:
    """Whether a run of a task is for this app, where apps that share a prefix have a task of that name."""
    if not isinstance(task, StandsForOthers):
        return True
    try:
        return task.is_for_this_app(*_signature(task, run).args)
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
    """Publish a claimed run; return whether another of its task is wanted by now."""
    signature = _signature(task, run)
    pending = pending_value(run.triggered_us, runs.lock_name, token)
    headers = {**(signature.options.get("headers") or {}), PENDING_HEADER: pending}
    signature.set(headers=headers).apply_async()
    logger.info("Task %s[%s] published: lock %r is free", task.name, run.id, runs.lock_name)
    return runs.confirm(run, token)


def end_superseded(task: Task[..., Any], runs: PendingRuns, run: PendingRun, successor: str) -> bool:
    """Let a run that was wanted end as `skip` does: another run stands for it, and has begun.

    Returns:
        False: it is another app's, which has its results, and ends it later.
    """
    if not is_ours(task, run):
        return False
    reason = superseded_reason(runs.lock_name, successor)
    logger.info("Task %s[%s] skipped: %s", task.name, run.id, reason)
    signature = _signature(task, run)
    revoke(task, request_of(signature.options, task.name, signature.args, signature.kwargs), reason)
    queued.free_of_message(task.app, signature.options.get("headers"), run.id)
    runs.ended(run)
    return True


def superseded_reason(lock_name: str, successor: str) -> str:
    """Return why a run did not take place."""
    return f"superseded by task {successor}, which runs in its place under lock {lock_name!r}"


def _signature(task: Task[..., Any], run: PendingRun) -> Any:
    content_type, encoding, body = json.loads(run.message)
    accept = serialization.prepare_accept_content(task.app.conf.accept_content)
    call = serialization.loads(b64decode(body), content_type, encoding, accept=accept)
    return task.app.signature(call)
