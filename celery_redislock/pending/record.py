"""Coalescing: of all triggers that meet a busy lock one more run is wanted, for when the lock is free.

The others stand back until it begins: it may be revoked, or expire, and then one of them runs.
Where it is kept is told in ``engine/wanted.py``, who publishes it in ``wanted.py``: whoever releases
the lock, or, where nobody did, the step of any worker (``rescue.py``).
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
from ..messages.ending import is_stored
from ..messages.headers import PENDING_HEADER, pending_in, pending_value
from ..messages.outcomes import LockFreed, Obsolete
from ..messages.republish import store_retry
from . import publish as wanted
from .runs import LOOK_MS, PendingRun, Recorded

logger = logging.getLogger(__name__)

#: A lock is not noted to be looked at sooner than after this, seconds: the wish has to come first.
LEAST_S = 1.0
#: In place of milliseconds: the holder is not asked to stop.
NEVER = -1


def want(
    task: Task[..., Any],
    lock_name: str,
    holder: Holder,
    *,
    keep: str,
    error: Exception,
    stop_after_ms: int = NEVER,
) -> str:
    """Have the task that runs here run once more when the lock is free, in place of those before it.

    Its result stays PENDING until then, or until one that stands for it begins; ``RETRY`` if Celery tracks
    the start of tasks.

    Args:
        task: The task; its request is the one that met the lock.
        lock_name: The Redis key.
        holder: Who has it.
        keep: "latest" or "first": which of those that met the lock stands for all.
        error: What the result says while it waits.
        stop_after_ms: Ask the holder to stop, and have it ended after so many milliseconds.

    Returns:
        The id of the task that stands for this one; empty: this one is wanted itself, or stands back.

    Raises:
        LockFreed: Try again to take the lock: nothing was recorded.
        Obsolete: Another message of this task counts.
        StoreUnavailable: Redis could not be reached.
    """
    token = pending_in(task.request.headers).get("token", "")
    run = wanted.run_of_request(task)
    if keep == "latest" and 0 < run.triggered_us < _met_of(task, holder):
        return holder.metadata["id"]
    if (task.track_started and not token) or (task.request.is_eager and is_stored(task)):
        # Celery has stored STARTED, or would store nothing. Before it is wanted: from then on it may be over
        # at any moment.
        store_retry(task, error)
    recorded = _ask(
        task, lock_name, run, holder.lease_left, keep=keep, token=token, stop_after_ms=stop_after_ms
    )
    if recorded.is_free:
        raise LockFreed
    if recorded.is_copy:
        raise Obsolete(f"another message of task {run.id} counts")
    return recorded.successor


def want_call(
    task: Task[..., Any], signature: Any, lock_name: str, lease_left: float | None, keep: str
) -> Recorded:
    """Have a call that is not published run once when the lock is free, in place of those before it.

    Args:
        task: The task.
        signature: Of the call, with its ``task_id`` and all options.
        lock_name: The Redis key.
        lease_left: Seconds until the holder's lease ends; None: it never does.
        keep: "latest" or "first".

    Returns:
        What became of it. `is_free`: nothing was recorded, the call may be published. `successor`: the
        task id that stands for this call, whose own end is up to the caller. `behind`: the task id that
        will stand for it once that begins.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """
    run = wanted.run_of_signature(task, signature)
    return _ask(task, lock_name, run, lease_left, keep=keep)


def _ask(
    task: Task[..., Any],
    lock_name: str,
    run: PendingRun,
    lease_left: float | None,
    *,
    keep: str,
    token: str = "",
    stop_after_ms: int = NEVER,
) -> Recorded:
    runs = wanted.runs_of(task.app, lock_name)
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
    index = wanted.index_of(task.app)
    began = time.monotonic()
    index.schedule(lock_name, int(after_s * 1000))
    recorded = ask()
    if time.monotonic() - began > after_s / 2:
        # We stood still: somebody may have looked before there was anything, and have forgotten the lock.
        index.schedule(lock_name, int(after_s * 1000))
    return recorded


def begin(task: Task[..., Any], lock: RedisLock, options: LockOptions) -> None:
    """Say that the task that runs here has got the lock, if runs of it are or were wanted.

    Its headers then say when its trigger met the lock, for a retry that meets it once more.

    Raises:
        Obsolete: It must not run: another message of it counts, or another run stands for it.
        StoreUnavailable: Redis could not be reached.
    """
    request = task.request
    note = pending_in(request.headers)
    if not note and not (lock.has_pending or _may_want(options)):
        return
    met = begin_call(task, str(request.id), lock, options, note)
    request.headers = {**(request.headers or {}), PENDING_HEADER: pending_value(met)}


def begin_call(
    task: Task[..., Any], task_id: str, lock: RedisLock, options: LockOptions, note: Mapping[str, Any]
) -> int:
    """Say that a call has got the lock, wherever it was made; return when its trigger met the lock.

    Args:
        task: The task.
        task_id: Of the call.
        lock: Just taken.
        options: Of the call.
        note: The `pending_in` of its message.

    Raises:
        Obsolete, StoreUnavailable: As in `begin`.
    """
    met = int(note.get("triggered_us") or lock.fencing_token or 0)
    token = note.get("token", "")
    if lock.has_pending or token:
        runs = wanted.runs_of(task.app, lock.name)
        begun = runs.begin(task.name, task_id, keep=_keep(options), triggered_us=met, token=token)
        if begun.is_copy:
            logger.info("Task %s[%s] dropped: another message or run counts", task.name, task_id)
            raise Obsolete(f"another message of task {task_id}, or another run, counts")
        _end_superseded(task, runs, begun, task_id)
    return met


def triggered(request: Any) -> dict[str, str]:
    """Return what a holder says of when it was wanted, if it was: a newer trigger must not yield to it."""
    met = pending_in(request.headers).get("triggered_us")
    return {"triggered": (EPOCH + timedelta(microseconds=met)).isoformat()} if met else {}


def _met_of(task: Task[..., Any], holder: Holder) -> int:
    """Return when the trigger of a holder that is a run of this task met its lock, or got it at once."""
    if holder.metadata.get("task") != task.name or "id" not in holder.metadata:
        return 0
    if "triggered" not in holder.metadata:
        return holder.fencing_token or 0
    return (datetime.fromisoformat(holder.metadata["triggered"]) - EPOCH) // timedelta(microseconds=1)


def _may_want(options: LockOptions) -> bool:
    return callable(options.on_conflict) or options.on_conflict in {"coalesce", "replace"}


def _keep(options: LockOptions) -> str:
    """Return which runs a run stands for that got the lock: none if its task does not coalesce."""
    if options.on_conflict == "replace":
        return "latest"
    return options.keep if _may_want(options) else "first"


def _end_superseded(task: Task[..., Any], runs: Any, recorded: Recorded, successor: str) -> None:
    for run in recorded.superseded:
        try:
            wanted.end_superseded(task, runs, run, successor)
        except Exception as error:  # noqa: BLE001 - their ends are claimed, and stored later by a worker
            logger.warning("the end of superseded task %s is stored later: %s", run.id, error)
