"""Start later: the task that publishes a batch later, when it met a busy lock."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from celery import Celery, Task
from celery.exceptions import TaskPredicate
from celery.worker import state as worker_state

from ..conflicts import outage
from ..conflicts.conflict import announce, settle
from ..conflicts.retrying import Attempts
from ..errors import LockBusy, StoreUnavailable
from ..holder import Holder
from ..messages import sentry
from ..messages.celery_exceptions import LockFreed
from ..messages.delays import delayed
from ..messages.delivery import delivery_headers
from ..messages.headers import pending_in
from ..messages.stored_state import StandsForOthers
from ..pending import rescue
from ..pending.publish import superseded_reason
from ..pending.record import record_call
from ..publishing.expiry import lasting
from ..worker.monitored_request import MonitoredRequest
from . import member_run
from .canvas import app_tasks_of, results_of, tasks_of
from .launch import START_BATCH, BatchTerms, Launch

logger = logging.getLogger(__name__)


class StartRequest(MonitoredRequest):
    """The request of that task, in a worker's parent: the end of the task is the end of a whole batch."""

    _request_dict: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._request_dict.update(delivery_headers(self.message))

    def revoked(self) -> Any:
        """Whether the task is revoked; it is, too, when each task of its batch is."""
        with suppress(Exception):  # when its arguments do not fit, the task itself says so
            results = results_of(_launch(self.task, *self.args).result)
            if all(result.id in worker_state.revoked for result in results):
                worker_state.revoked.add(self.id)
        return super().revoked()

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        """End every result of the batch too, if it was not published yet."""
        if not terminated:
            with suppress(Exception):  # as above; or the result backend is away
                _launch(self.task, *self.args).revoke(reason)
        super()._announce_revoked(reason, terminated, signum, expired)


class Starter(StandsForOthers):
    """The class of the task that publishes batches: its end is the end of a whole batch."""

    abstract = True
    Request = "celery_redislock.batch.start_later:StartRequest"

    def start_strategy(self, app: Celery, consumer: Any, **kwargs: Any) -> Any:
        """Prepare a worker when it reads its tasks: when it starts, and when it is told to read them again.

        A worker that started before this package was imported learns only now that it has to count members
        and to publish pending runs.
        """
        rescue.see_to(consumer.controller)
        if member_run.watch(app):
            # The tasks that it read before this one have another request class now.
            consumer.update_strategies()
        return super().start_strategy(app, consumer, **kwargs)

    def is_for_this_app(self, canvas: Mapping[str, Any], *_: Any) -> bool:
        """Whether a batch is of this app: each has this task, but only one may know those of the batch."""
        names = app_tasks_of(canvas)
        return not names or not names.isdisjoint(self.app.tasks)

    def end_others(self, request: Any, reason: str) -> None:
        """End every result of the batch that this would have published as ``REVOKED``."""
        _launch(self, *request.args).revoke(reason)


def define(app: Celery) -> None:
    """Give an app the task, if it has none yet."""
    known: Any = app
    if START_BATCH not in known._tasks:  # not `tasks`, which would finalize the app
        known.task(
            start_batch,
            bind=True,
            base=Starter,
            name=START_BATCH,
            shared=False,
            lazy=False,
            ignore_result=True,
            throws=(LockBusy, StoreUnavailable),
            acks_late=True,
        )


def start_batch(
    self: Task[..., Any], canvas: Mapping[str, Any], terms: Mapping[str, Any], call: Mapping[str, Any]
) -> None:
    """Publish a batch if its lock is free; else do what its policy says.

    Args:
        self: The task.
        canvas: Frozen.
        terms: As `BatchTerms` has them.
        call: As `Launch` takes it.
    """
    launch = _launch(self, canvas, terms, call)
    pending = pending_in(self.request.headers)
    try:
        launch.start(partial(_meet, launch), unless_over=True, pending=pending)
    except TaskPredicate:
        raise
    except StoreUnavailable as error:
        _after_outage(self, launch, error)
    except Exception as error:
        # Nobody else will publish it, and its results would be PENDING for ever.
        launch.fail(error)
        if isinstance(error, LockBusy):
            sentry.report(error)
        raise


def _meet(launch: Launch, holder: Holder) -> None:
    """Settle the conflict with the holder, unless that is this very batch.

    Raises:
        LockFreed: The lock is free by now.
    """
    if launch.is_under_way(holder):
        logger.info("batch %s was started before: this second delivery is dropped", launch.result.id)
    else:
        settle(launch.conflict(holder))


def _after_outage(task: Task[..., Any], launch: Launch, error: StoreUnavailable) -> None:
    # A batch never runs without its lock: "run" does what "retry" does.
    on_error = "fail" if launch.options.on_error == "fail" else "retry"
    try:
        outage.settle(task, replace(launch.options, on_error=on_error), error)
    except StoreUnavailable:
        launch.fail(error)
        sentry.report(error)
        raise


def start_later(launch: Launch, holder: Holder) -> None:
    """Have a worker publish a batch that met a busy lock later, under the ids that it has.

    Args:
        launch: Of the batch.
        holder: Who has the lock.
    """
    conflict = launch.conflict(holder)
    announce(conflict, launch.terms.policy)
    start = _start_of(launch)
    delay_s = Attempts().delay_s(launch.options, conflict.lease_left)
    start.apply_async(**delayed(launch.starter, start.options, delay_s))


def start_when_free(launch: Launch, holder: Holder) -> None:
    """Have a batch that met a busy lock published when it is free, in place of those before it.

    Args:
        launch: Of the batch.
        holder: Who has the lock.

    Raises:
        LockFreed: The lock is free by now: nothing was recorded.
        StoreUnavailable: Redis could not be reached.
    """
    conflict = launch.conflict(holder)
    start = _start_of(launch).set(task_id=launch.start_id)
    recorded = record_call(launch.starter, start, launch.lock.name, conflict.lease_left, launch.options.keep)
    if recorded.is_free:
        raise LockFreed
    announce(conflict, launch.terms.policy)
    if recorded.successor:
        launch.revoke(superseded_reason(launch.lock.name, recorded.successor))


#: What a batch does that meets a busy lock and is published later, by the word of its policy.
LATER: Mapping[str, Callable[[Launch, Holder], None]] = {"retry": start_later, "coalesce": start_when_free}


def _launch(
    task: Task[..., Any], canvas: Mapping[str, Any], terms: Mapping[str, Any], call: Mapping[str, Any]
) -> Launch:
    return Launch(task.app, canvas, BatchTerms(**terms), call)


def _start_of(launch: Launch) -> Any:
    """Return the call of the task that publishes this batch."""
    call = {**launch.call, "options": lasting(launch.app, launch.call["options"])}
    arguments = (dict(launch.canvas), launch.terms.as_dict(), call)
    expiry = {"expires": call["options"]["expires"]} if "expires" in call["options"] else {}
    return launch.starter.signature(arguments, **_sent_as(launch), **expiry)


def _sent_as(launch: Launch) -> dict[str, Any]:
    """Return the options with which the start is published: those of the batch's own tasks.

    It goes to their queue, since a worker listens there, and with their serializer, since it has their
    arguments. The options of the call come before those of the tasks.
    """
    tasks = [*tasks_of(launch.canvas)]
    given: list[Mapping[str, Any]] = [launch.call["options"], *(task["options"] for task in tasks)]
    given += [
        {"serializer": getattr(launch.app.tasks.get(task["task"]), "serializer", None)} for task in tasks
    ]
    found = {
        word: next((options[word] for options in given if options.get(word) is not None), None)
        for word in ("queue", "serializer", "compression", "priority")
    }
    return {word: value for word, value in found.items() if value is not None}
