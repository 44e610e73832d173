"""Receivers: what batches need to hear of Celery's signals, and of the apps of this process.

Any task may be a member of a batch. So every worker needs this, whatever its application imports: see
``plugin.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Signature, signals

from ..task import receivers as of_tasks
from . import counting, member_request, member_run, start_later
from .signature import SUBTASK_TYPE, LockedBatch

#: Which function of ours is called at which signal of Celery's. Its module connects nothing itself.
RECEIVERS: tuple[tuple[Any, Callable[..., Any]], ...] = (
    # in the process that publishes
    (signals.before_task_publish, counting.announce),
    (signals.after_task_publish, counting.confirm),
    # in a worker's parent
    (signals.worker_init, member_run.watch_at_start),
    (signals.task_unknown, member_request.depart_unknown),
)


def install() -> None:
    """Connect the receivers of tasks and of batches, and give each app the task that publishes batches.

    May be called any number of times.
    """
    of_tasks.install()
    for signal, receiver in RECEIVERS:
        signal.connect(receiver, weak=False)
    Signature.register_type(name=SUBTASK_TYPE)(LockedBatch)
    of_tasks.for_each_app(start_later.define)
