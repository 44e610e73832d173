"""Direct calls: a task that is called as a function has no message, and so takes no lock.

Anything else that calls a task has first begun a run, in the task's ``before_start``. A class may run its
messages in a way of its own (its ``Strategy``) that calls no hook: its bodies would run without their locks.
"""

from __future__ import annotations

import logging
from typing import Any

from ..errors import ConfigurationError

logger = logging.getLogger(__name__)

#: Attribute of the request of a direct call.
_ATTRIBUTE = "redislock_direct"

#: Packages with such a class. celery-batches runs many messages as one call, and calls no hook for it:
#: https://celery-batches.readthedocs.io
_WITHOUT_HOOKS = frozenset({"celery_batches"})


def refuse_class_without_hooks(task_class: type, task_name: str) -> None:
    """Refuse a class that is known to run its messages without the hooks of a task.

    Raises:
        ConfigurationError: It is one.
    """
    for base in reversed(task_class.__mro__):
        package = base.__module__.partition(".")[0]
        if package in _WITHOUT_HOOKS:
            raise ConfigurationError(
                f"task {task_name!r} cannot be locked: {base.__name__} of {package} runs its messages "
                'without before_start; take a RedisLock in the body, or set lock_mode="off"'
            )


def mark(request: Any) -> None:
    """Note that a request is that of a direct call."""
    setattr(request, _ATTRIBUTE, True)


def refuse_others(task: Any) -> None:
    """Refuse a call of a body that has begun no run, unless it is a direct call.

    With `lock_mode` "shadow" it runs, with a warning.

    Raises:
        ConfigurationError: It is none, and the task has a lock.
    """
    request = task.request_stack.top
    if request is None or getattr(request, _ATTRIBUTE, False):
        return
    mode = task.plan_for().options.mode
    if mode == "shadow":
        logger.warning(
            'Task %s runs without its lock: its message was run without before_start; with lock_mode "on" it '
            "is refused",
            task.name,
        )
    elif mode == "on":
        raise ConfigurationError(
            f"task {task.name!r} would run without its lock: its message was run without before_start, by "
            f"{type(task).__name__}.Strategy or another tool; take a RedisLock in the body, or set "
            'lock_mode="off"'
        )
