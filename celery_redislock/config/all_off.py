"""All off: whether any task of an app takes a lock; if none does, no Redis is looked for."""

from __future__ import annotations

from celery import Celery

from .plan import Planned


def is_off(app: Celery) -> bool:
    """Whether there are locked tasks, and `lock_mode` is "off" for each of them.

    Asked anew each time: Celery may learn of a task at any time. Celery's own tasks, which are locked ones
    where `LockedTask` is the app's task class, do not count.
    """
    locked = [
        task
        for name, task in list(app.tasks.items())
        if isinstance(task, Planned) and not name.startswith("celery.")
    ]
    return bool(locked) and all(task.plan_for().options.mode == "off" for task in locked)
