"""Withdrawal: a pending run ended before it began, so one that stood back behind it is pending now.

It was revoked, or expired; a worker did not know its task, or refused its message; it failed, or its process
died, before it had its lock. Whoever hears of such an end tells Redis, and publishes the next run: see
``worker/abandoned_messages.py``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from celery import Celery, Task

from ..errors import StoreUnavailable
from ..messages.headers import pending_in
from .publish import publish_pending, runs_of

logger = logging.getLogger(__name__)

#: For how long, and how often, a worker tries while Redis is away, seconds. A run that is not withdrawn by
#: then is taken for lost an hour after its publication.
PATIENCE_S, PAUSE_S = 60.0, 1.0


def withdraw(app: Celery, task_name: str, task_id: str, headers: Mapping[str, Any]) -> None:
    """Let the next run be pending, if the message with these headers was to start a pending run.

    Nothing is done for a run that has begun, or for a message that does not count.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """
    pending = _pending_in(headers)
    if pending is None:
        return
    lock_name = pending["lock"]
    if runs_of(app, lock_name).withdraw(task_name, task_id, pending["token"]):
        logger.info(
            "Task %s[%s] did not begin: lock %r goes to the next pending run", task_name, task_id, lock_name
        )
        # If this process dies here, a worker publishes: it looks at a lock while a run stands back.
        publish_pending(app, lock_name)


def withdraw_here(task: Task[..., Any]) -> None:
    """Do `withdraw` for the task that runs here; never raises."""
    _try(task.app, task.name, str(task.request.id), task.request.headers or {})


def withdraw_apart(app: Celery, headers: Mapping[str, Any], *, pause_s: float = PAUSE_S) -> None:
    """Do `withdraw` for a message in a thread: the worker's parent must not wait for Redis; never raises.

    Args:
        app: Its app.
        headers: Of the message.
        pause_s: How often it is tried while Redis is away, seconds.
    """
    if _pending_in(headers) is None:
        return
    arguments = (app, str(headers.get("task")), str(headers.get("id")), headers)
    try:
        threading.Thread(
            target=_patiently, args=(pause_s, *arguments), name="redislock-withdraw", daemon=True
        ).start()
    except RuntimeError:  # no thread can be started just now
        _try(*arguments)


def _pending_in(headers: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what the message of a pending run says; None: it is none, or a retry of one that has begun."""
    pending = pending_in(headers)
    return pending if "lock" in pending and "token" in pending else None


def _patiently(pause_s: float, *arguments: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not _try(*arguments) and time.monotonic() < deadline:
        time.sleep(pause_s)


def _try(app: Celery, task_name: str, task_id: str, headers: Mapping[str, Any]) -> bool:
    """Return False if it is worth another try."""
    try:
        withdraw(app, task_name, task_id, headers)
    except StoreUnavailable as error:
        logger.warning(
            "Task %s[%s] did not begin; the next pending run is published later: %s",
            task_name,
            task_id,
            error,
        )
        return False
    except Exception as error:  # noqa: BLE001 - a worker's step publishes it later
        logger.warning(
            "Task %s[%s] did not begin; the next pending run is published later: %r",
            task_name,
            task_id,
            error,
        )
    return True
