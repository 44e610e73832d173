"""Plugin: what every process that runs or publishes tasks must know of us, and how it is told.

Nothing of it hinges on what an application's modules import. The command line tells every worker, since
Celery loads the entry point of our command (``commands.py``) before it looks for the application; in a
program of its own the first name of the Celery layer that is imported does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery, Signature, _state, signals

from .batch import member_request, member_run, membership
from .batch import start as start_batch
from .batch.signature import SUBTASK_TYPE, LockedBatch
from .config import call as named
from .config import call_options as call
from .pending.rescue import RescueStep
from .task import hooks
from .worker import abandoned as ended
from .worker import start as worker

#: What is called at which signal of Celery's.
RECEIVERS: tuple[tuple[Any, Callable[..., Any]], ...] = (
    # in who publishes
    (signals.before_task_publish, call.put_into_header),
    (signals.before_task_publish, named.as_sent),
    (signals.before_task_publish, membership.announce),
    (signals.after_task_publish, membership.confirm),
    # in a worker's parent
    (signals.worker_init, member_run.watch_at_start),
    (signals.task_received, call.warn_of_what_nobody_reads),
    (signals.celeryd_after_setup, worker.warn_of_options_that_nobody_reads),
    (signals.celeryd_after_setup, worker.warn_of_what_cannot_be),
    (signals.task_unknown, member_request.depart_unknown),
    (signals.task_unknown, ended.refused),
    (signals.task_rejected, ended.refused),
    (signals.task_revoked, ended.revoked),
    (signals.worker_ready, ended.listen_for_undecoded),
    # where the body runs
    (signals.task_postrun, hooks.release_what_is_left),
    (signals.task_postrun, ended.ran),
    (signals.task_internal_error, ended.broke),
    (signals.task_postrun, member_run.leave),
)


def install() -> None:
    """Have this process know us, and every app in it, also those that come later.

    May be called any number of times.
    """
    for signal, receiver in RECEIVERS:
        signal.connect(receiver, weak=False)
    Signature.register_type(name=SUBTASK_TYPE)(LockedBatch)
    # As the tasks that Celery itself brings for every app.
    _state.connect_on_app_finalize(know)
    for app in _state._get_active_apps():  # type: ignore[attr-defined]
        if app.finalized:
            know(app)


def know(app: Celery) -> None:
    """Have an app, and the workers that it starts, know us."""
    app.steps["worker"].add(RescueStep)
    start_batch.define(app)
