"""Seen runs: the calls of one task that this process began meanwhile, and which of them ran their body."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from celery.signals import task_postrun, task_prerun

from ..task.run import run_of

__all__ = ["SeenRun", "seen_runs"]

#: A result is there a moment before its call has ended: how long that is waited for, seconds, and how often
#: it is looked at.
_END_S, _LOOK_S = 5.0, 0.005


@dataclass
class SeenRun:
    """A call that began here.

    Attributes:
        args, kwargs: Of the call.
        request: Celery's.
        has_ended: Celery has sent `task_postrun`.
        has_run: Its body has begun.
    """

    args: Any
    kwargs: Any
    request: Any
    has_ended: bool = False
    has_run: bool = False


@contextmanager
def seen_runs(task_name: str) -> Iterator[list[SeenRun]]:
    """See the calls of a task for the length of the block; at its end wait for those that have begun.

    Args:
        task_name: Its name.
    """
    seen: list[SeenRun] = []

    def note(sender: Any = None, args: Any = (), kwargs: Any = None, **_: Any) -> None:
        if sender.name == task_name:
            seen.append(SeenRun(args or (), kwargs or {}, sender.request))

    def complete(sender: Any = None, **_: Any) -> None:
        # A request has its run as long as it is on the stack.
        request = sender.request if sender is not None else None
        for each in seen:
            if each.request is request:
                each.has_run = bool(getattr(run_of(request), "has_called", False))
                each.has_ended = True

    task_prerun.connect(note, weak=False)
    task_postrun.connect(complete, weak=False)
    try:
        yield seen
        until = time.monotonic() + _END_S
        while not all(each.has_ended for each in seen) and time.monotonic() < until:
            time.sleep(_LOOK_S)
    finally:
        task_prerun.disconnect(note)
        task_postrun.disconnect(complete)
