"""Withdrawal: a wanted run has ended before it began, and the one that stood back behind it is wanted now.

It was revoked, or had expired; its task was not known or its message refused by a worker; it failed, or
its process died, before it had its lock. Whoever hears of such an end, see ``ended.py``, says so in Redis,
and publishes.
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
from . import publish as wanted

logger = logging.getLogger(__name__)

#: How long a worker goes on trying while Redis is away, and how often, seconds. What was not withdrawn by
#: then is taken for lost an hour after its publication.
PATIENCE_S, PAUSE_S = 60.0, 1.0


def withdraw(app: Celery, task_name: str, task_id: str, headers: Mapping[str, Any]) -> None:
    """Have the next in line wanted, if the message with these headers was that of a wanted run.

    A run that has begun, and a message that does not count, are left as they are.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """
    note = _note_of(headers)
    if note is None:
        return
    lock_name = note["lock"]
    if wanted.runs_of(app, lock_name).withdraw(task_name, task_id, note["token"]):
        logger.info(
            "Task %s[%s] did not begin: under lock %r the next one does", task_name, task_id, lock_name
        )
        # Should we die here: while somebody stands back, a worker's step looks at the lock now and then.
        wanted.publish_what_is_wanted(app, lock_name)


def withdraw_here(task: Task[..., Any]) -> None:
    """Do `withdraw` for the task that runs here; never raises."""
    _try(task.app, task.name, str(task.request.id), task.request.headers or {})


def withdraw_apart(app: Celery, headers: Mapping[str, Any]) -> None:
    """Do `withdraw` for a message in a thread: a worker's parent has others to take; never raises."""
    if _note_of(headers) is None:
        return
    arguments = (app, str(headers.get("task")), str(headers.get("id")), headers)
    try:
        threading.Thread(target=_patiently, args=arguments, name="redislock-withdraw", daemon=True).start()
    except RuntimeError:  # no thread can be started just now
        _try(*arguments)


def _note_of(headers: Mapping[str, Any]) -> Mapping[str, Any] | None:
    note = pending_in(headers)
    return note if "lock" in note and "token" in note else None


def _patiently(*arguments: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not _try(*arguments) and time.monotonic() < deadline:
        time.sleep(PAUSE_S)


def _try(app: Celery, task_name: str, task_id: str, headers: Mapping[str, Any]) -> bool:
    """Return False if it is worth another try."""
    try:
        withdraw(app, task_name, task_id, headers)
    except StoreUnavailable as error:
        logger.warning("Task %s[%s] did not begin; the next one comes later: %s", task_name, task_id, error)
        return False
    except Exception as error:  # noqa: BLE001 - a worker's step publishes it later
        logger.warning("Task %s[%s] did not begin; the next one comes later: %r", task_name, task_id, error)
    return True
