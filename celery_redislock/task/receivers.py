"""Receivers: what a locked task needs to hear of Celery's signals, and of the apps of this process.

Importing `LockedTask` installs it. Nothing else that an application imports matters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery, _state
from celery import signals as celery_signals

from .. import events, signals
from ..config import call, call_options, masking
from ..messages.headers import PENDING_HEADER, TICKET_HEADER
from ..observing import beat_origins
from ..observing import receivers as observing
from ..pending.rescue import RescueStep
from ..worker import abandoned_messages, control, marked_messages, scheduled_runs, start
from . import hooks, run

#: Which function of ours is called at which signal of Celery's. Its module connects nothing itself.
RECEIVERS: tuple[tuple[Any, Callable[..., Any]], ...] = (
    # in the process that publishes
    (celery_signals.before_task_publish, call_options.put_into_header),
    (celery_signals.before_task_publish, call.name_as_sent),
    # in a worker's parent
    (celery_signals.task_received, call_options.warn_of_what_nobody_reads),
    (celery_signals.task_received, beat_origins.note_origin),
    (celery_signals.celeryd_after_setup, start.log_findings),
    (celery_signals.celeryd_after_setup, scheduled_runs.watch_scheduled),
    (celery_signals.task_unknown, abandoned_messages.on_refused),
    (celery_signals.task_rejected, abandoned_messages.on_refused),
    (celery_signals.task_revoked, abandoned_messages.on_revoked),
    (celery_signals.worker_ready, abandoned_messages.on_ready),
    # in a beat
    (celery_signals.beat_init, beat_origins.mark_messages),
    # where the body runs
    (celery_signals.task_internal_error, abandoned_messages.on_internal_error),
    (celery_signals.worker_process_shutdown, hooks.confirm_releases),
)
#: The same at ``task_postrun``, once this process has met a message with a publish lock or of a pending run.
AT_THE_END = (hooks.release_what_is_left, abandoned_messages.on_postrun)


def install() -> None:
    """Connect the receivers, mask our settings, and prepare each app of this process, also those to come.

    May be called any number of times.
    """
    masking.mask_our_settings()
    for signal, receiver in RECEIVERS:
        signal.connect(receiver, weak=False)
    # Behind them: what is told while a process ends is passed on, too.
    observing.install()
    # Behind these: the log says first what a receiver of the user's is told.
    signals.install()
    events.let_pass(run.interrupts)
    marked_messages.hear(TICKET_HEADER, PENDING_HEADER, end=AT_THE_END)
    control.install()
    for_each_app(prepare)


def prepare(app: Celery) -> None:
    """Have the workers that an app starts rescue pending runs."""
    app.steps["worker"].add(RescueStep)


def for_each_app(prepare: Callable[[Celery], object]) -> None:
    """Prepare each app of this process: those that are finalized now, the others when they are.

    As Celery gives its own tasks to every app.
    """
    _state.connect_on_app_finalize(prepare)
    for app in _state._get_active_apps():  # type: ignore[attr-defined]
        if app.finalized:
            prepare(app)
