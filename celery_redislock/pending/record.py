"""Record: a trigger meets a busy lock; one more run is recorded for it, in place of those before it.

Of all triggers that meet the lock one run is pending, and begins once the lock is free. The others stand
back until it has begun: it may be revoked or expire before that, and then one of them is pending in its
place. ``runs.py`` says what Redis keeps. Whoever releases the lock publishes the pending run
(``publish.py``); where nobody did, a worker does (``rescue.py``).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from celery import Task

from ..config.options import LockOptions
from ..durations import EPOCH
from ..engine import RedisLock
from ..holder import Holder
from ..messages.celery_exceptions import LockFreed, Obsolete
from ..messages.headers import PENDING_HEADER, pending_in, pending_value
from ..messages.republish import store_retry
from ..messages.stored_state import is_stored
from .message import run_of_request, run_of_signature
from .publish import end_superseded, index_of, runs_of
from .runs import LOOK_MS, PendingRun, Recorded

logger = logging.getLogger(__name__)

#: Nobody looks at a lock earlier than this after it was listed, seconds: by then the run must be recorded.
LEAST_S = 1.0
#: In place of milliseconds: the holder is not asked to stop.
NEVER = -1


def record_run(
    task: Task[..., Any],
    lock_name: str,
    holder: Holder,
    *,
    keep: str,
    error: Exception,
    stop_after_ms: int = NEVER,
) -> str:
    """Record the task that runs here as the pending run of its lock, in place of those before it.

    Its result stays PENDING until the run begins, or another one that stands for it; it is ``RETRY`` if
    Celery tracks the start of tasks.

    Args:
        task: The task; its request is the one that met the lock.
        lock_name: The Redis key.
        holder: Who has it.
        keep: "latest" or "first": which of those that met the lock runs for all.
        error: What the result says in the state ``RETRY``.
        stop_after_ms: Ask the holder to stop, and have it terminated after so many milliseconds.

    Returns:
        The id of the task that runs in place of this one; empty: this one is pending, or stands back.

    Raises:
        LockFreed: The lock became free before anything was recorded: take it.
        Obsolete: Another message of this task counts.
        StoreUnavailable: Redis could not be reached.
    """
    token = pending_in(task.request.headers).get("token", "")
    run = run_of_request(task)
    if keep == "latest" and 0 < run.triggered_us < _triggered_us_of(task, holder):
        return holder.metadata["id"]
    if (task.track_started and not token) or (task.request.is_eager and is_stored(task)):
        # Celery has stored STARTED, or would store nothing. Stored before the run is recorded: from then on
        # the run may begin, and end, at any moment.
        store_retry(task, error)
    recorded = _record(
        task, lock_name, run, holder.lease_left, keep=keep, token=token, stop_after_ms=stop_after_ms
    )
    if recorded.is_free:
        raise LockFreed
    if recorded.is_copy:
        raise Obsolete(f"another message of task {run.id} has replaced this one")
    return recorded.successor


def record_call(
    task: Task[..., Any], signature: Any, lock_name: str, lease_left: float | None, keep: str
) -> Recorded:
    """Record a call that is not published as the pending run of its lock, in place of those before it.

    Args:
        task: The task.
        signature: Of the call, with its ``task_id`` and all options.
        lock_name: The Redis key.
        lease_left: Seconds until the holder's lease ends; None: it never does.
        keep: "latest" or "first".

    Returns:
        What became of it. `is_free`: nothing was recorded, the call may be published. `successor`: the
        id of the task that runs in place of this call, whose end the caller stores. `behind`: the id of
        the task that will run in its place once that begins.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """
    return _record(task, lock_name, run_of_signature(task, signature), lease_left, keep=keep)


def _record(
    task: Task[..., Any],
    lock_name: str,
    run: PendingRun,
    lease_left: float | None,
    *,
    keep: str,
    token: str = "",
    stop_after_ms: int = NEVER,
) -> Recorded:
    runs = runs_of(task.app, lock_name)
    ask = partial(runs.record, run, keep=keep, question=uuid4().hex, token=token, stop_after_ms=stop_after_ms)
    recorded = ask(is_listed=False)
    if recorded.must_be_listed_first:
        within_s = min(LOOK_MS / 1000, lease_left or math.inf)
        if stop_after_ms != NEVER:
            within_s = min(within_s, stop_after_ms / 1000)
        recorded = _listed_first(task, lock_name, max(LEAST_S, within_s), partial(ask, is_listed=True))
    _end_superseded(task, runs, recorded, recorded.behind or run.id)
    return recorded


def _listed_first(
    task: Task[..., Any], lock_name: str, after_s: float, ask: Callable[[], Recorded]
) -> Recorded:
    """List the lock in the index, to be looked at after some time, and then record the run."""
    index = index_of(task.app)
    began = time.monotonic()
    index.schedule(lock_name, int(after_s * 1000))
    recorded = ask()
    if time.monotonic() - began > after_s / 2:
        # This process stood still: a worker may have looked before anything was recorded, and have taken the
        # lock off the index.
        index.schedule(lock_name, int(after_s * 1000))
    return recorded


def run_began(task: Task[..., Any], request: Any, lock: RedisLock, options: LockOptions) -> None:
    """Say that the task that runs here has got the lock, where runs are, were or may be pending.

    Its headers then say when its trigger met the lock, for a retry that meets the lock once more.

    Raises:
        Obsolete: It must not run: another message of it counts, or another run supersedes it.
        StoreUnavailable: Redis could not be reached.
    """
    pending = pending_in(request.headers)
    triggered_us = call_began(task, str(request.id), lock, options, pending)
    request.headers = {**(request.headers or {}), PENDING_HEADER: pending_value(triggered_us)}


def call_began(
    task: Task[..., Any], task_id: str, lock: RedisLock, options: LockOptions, pending: Mapping[str, Any]
) -> int:
    """Say that a call has got the lock, wherever it was made.

    Args:
        task: The task.
        task_id: Of the call.
        lock: Just taken.
        options: Of the call.
        pending: The `pending_in` of its message.

    Returns:
        When its trigger met the lock, microseconds on the server's clock.

    Raises:
        Obsolete, StoreUnavailable: As in `run_began`.
    """
    triggered_us = int(pending.get("triggered_us") or lock.fencing_token or 0)
    token = pending.get("token", "")
    if lock.has_pending or token:
        runs = runs_of(task.app, lock.name)
        begun = runs.begin(task.name, task_id, keep=_keep(options), triggered_us=triggered_us, token=token)
        if begun.is_copy:
            logger.info("Task %s[%s] dropped: another message or run has replaced it", task.name, task_id)
            raise Obsolete(f"another message of task {task_id}, or another run, has replaced this one")
        _end_superseded(task, runs, begun, task_id)
    return triggered_us


def trigger_metadata(request: Any) -> dict[str, str]:
    """Return when the trigger of a run that was pending met the lock, for the metadata of the holder.

    A trigger that came later than this does not yield to the run; see `record_run`.
    """
    triggered_us = pending_in(request.headers).get("triggered_us")
    if not triggered_us:
        return {}
    return {"triggered": (EPOCH + timedelta(microseconds=triggered_us)).isoformat()}


def _triggered_us_of(task: Task[..., Any], holder: Holder) -> int:
    """Return when the trigger of a holder that is a run of this task met the lock, or got it at once."""
    if holder.metadata.get("task") != task.name or "id" not in holder.metadata:
        return 0
    if "triggered" not in holder.metadata:
        return holder.fencing_token or 0
    return (datetime.fromisoformat(holder.metadata["triggered"]) - EPOCH) // timedelta(microseconds=1)


def may_record(options: LockOptions) -> bool:
    """Whether a call with these options may have a run recorded that is then pending."""
    return callable(options.on_conflict) or options.on_conflict in {"coalesce", "replace"}


def _keep(options: LockOptions) -> str:
    """Return which pending runs a run supersedes that got the lock: none if its task does not coalesce."""
    if options.on_conflict == "replace":
        return "latest"
    return options.keep if may_record(options) else "first"


def _end_superseded(task: Task[..., Any], runs: Any, recorded: Recorded, successor: str) -> None:
    for run in recorded.superseded:
        try:
            end_superseded(task, runs, run, successor)
        except Exception as error:  # noqa: BLE001 - its end is claimed, and stored later by a worker
            logger.warning(
                "could not store the end of superseded task %s, a worker will do it later: %s", run.id, error
            )
