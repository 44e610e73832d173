"""Scheduled runs: how long the tasks of the schedule take that have no lock.

Celery would tell at `task_prerun` and `task_postrun`, but of every run of every task. So only the classes of
the tasks that `beat_schedule` names are watched: a task that is in no schedule pays nothing.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from celery import Celery, states

from ..config.all_off import is_off
from ..config.plan import Planned
from ..config.schedule import task_names_of
from ..engine import now
from ..events import Ran, tell
from .marked_messages import does_nothing

#: Attribute of a class that is watched.
_MARK = "_redislock_tells_its_runs"
#: Attribute of a request: when its run began, on the monotonic clock.
_BEGAN_AT = "redislock_began_at"

_WORDS = {states.SUCCESS: "returned", states.FAILURE: "failed", states.RETRY: "retried"}


def watch_scheduled(instance: Any = None, **_: Any) -> None:
    """At ``celeryd_after_setup``: watch the tasks of the schedule, before Celery looks at their hooks."""
    watch(instance.app)


def watch(app: Celery) -> None:
    """Have the runs told of tasks that `beat_schedule` names and that have no lock.

    Nothing is watched for an app without a locked task: there the package is only installed.
    """
    if is_off(app) or not any(isinstance(task, Planned) for task in app.tasks.values()):
        return
    for name in task_names_of(app):
        task = app.tasks.get(name)
        if task is not None and not isinstance(task, Planned):
            _watch(type(task))


def _watch(task_class: Any) -> None:
    if _MARK not in vars(task_class):
        task_class.before_start = _begin_before(task_class.before_start)
        task_class.after_return = _tell_after(task_class.after_return)
        setattr(task_class, _MARK, True)


def _begin_before(hook: Any) -> Any:
    is_empty = does_nothing(hook)

    @wraps(hook)
    def before_start(self: Any, task_id: str, args: Any, kwargs: Any) -> Any:
        setattr(self.request, _BEGAN_AT, now())
        return None if is_empty else hook(self, task_id, args, kwargs)

    return before_start


def _tell_after(hook: Any) -> Any:
    is_empty = does_nothing(hook)

    @wraps(hook)
    def after_return(self: Any, status: str, retval: Any, task_id: str, *args: Any) -> Any:
        began_at, word = getattr(self.request, _BEGAN_AT, None), _WORDS.get(status)
        if began_at is not None and word is not None:
            tell(Ran(self, task_id, word, now() - began_at))
        return None if is_empty else hook(self, status, retval, task_id, *args)

    return after_return
