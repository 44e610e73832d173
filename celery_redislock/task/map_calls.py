"""Map calls: map, starmap and chunks, with which Celery calls a task many times inside another task.

These calls have no message, no request and no hook of their own. So none of them can take its lock.
"""

from __future__ import annotations

import logging
from typing import Any

from ..errors import ConfigurationError

logger = logging.getLogger(__name__)

#: Celery's tasks whose bodies call another task's.
_CALLERS = {"celery.map": "map", "celery.starmap": "starmap"}


def refuse_inside(task: Any) -> None:
    """Refuse a call of the task's body by one of Celery's tasks that call others.

    Raises:
        ConfigurationError: It is one, and the task has a lock.
    """
    caller = task.app.current_task
    if caller is not None and caller is not task and caller.name in _CALLERS:
        refuse(task, _CALLERS[caller.name])


def refuse(task: Any, how: str) -> None:
    """Refuse to map a task that has a lock.

    Args:
        task: The task.
        how: The method of it that was called, or would have been.

    Raises:
        ConfigurationError: It has a lock.
    """
    mode = task.plan_for().options.mode
    if mode == "shadow":
        logger.warning(
            'Task %s: %s() runs it without its lock; with lock_mode "on" it is refused', task.name, how
        )
    elif mode == "on":
        raise ConfigurationError(
            f"task {task.name!r} cannot be called by {how}(), which would run it without its lock: "
            f"use group({_short(task.name)}.s(...) for ...), or map a task that has none"
        )


def _short(name: str) -> str:
    return name.rpartition(".")[2]
