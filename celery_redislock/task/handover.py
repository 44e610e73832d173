"""Handover: a run keeps its lock until its own retry has the publish lock, so that nothing comes between."""

from __future__ import annotations

from typing import Any

from celery import Task

from ..config.resolution import LockOptions
from . import run

#: Of the request of a run that is about to publish its retry.
_ATTRIBUTE = "redislock_handover"


def begin(task: Task[..., Any], options: LockOptions) -> None:
    """Before a retry is published: give the lock of this run back, or keep it until `finish`."""
    takes_both = options.scope == "task" and options.mode != "off"
    if takes_both and run.run_of(task.request) is not None and not task.request.is_eager:
        setattr(task.request, _ATTRIBUTE, True)
    else:
        run.finish(task)


def finish(task: Task[..., Any]) -> None:
    """The retry of this run, if it is one that is published here, has the publish lock: free the other."""
    if getattr(task.request, _ATTRIBUTE, False):
        run.finish(task)
