"""Start batch: the task that publishes a batch later, when it met a busy lock."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from celery import Celery, Task
from celery.exceptions import TaskPredicate
from celery.worker import state as worker_state
from celery.worker.request import Request

from ..conflicts import outage
from ..conflicts.conflict import announce, retry_delay, settle
from ..errors import LockBusy, StoreUnavailable
from ..messages import sentry
from ..messages.delays import delayed
from ..messages.delivery import noted
from ..messages.headers import pending_in
from ..pending import rescue
from ..pending.publish import superseded_reason
from ..pending.record import LockFreed, want_call
from ..publishing.expiry import lasting
from . import member_run
from .canvas import app_tasks_of, results_of, tasks_of
from .launch import START_BATCH, Launch, Terms

logger = logging.getLogger(__name__)


class StartRequest(Request):
    """Its request, in a worker's parent: it knows how the message was sent, and if it is still to run."""

    _request_dict: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._request_dict.update(noted(self.message))

    def revoked(self) -> Any:
        """Whether it is not to run any more: nor is it where each task of its batch is revoked."""
        with suppress(Exception):  # arguments that do not fit: the task says so
            results = results_of(_launch(self.task, *self.args).result)
            if all(result.id in worker_state.revoked for result in results):
                worker_state.revoked.add(self.id)
        return super().revoked()

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        """End every result of the batch, too, if it was not published yet."""
        if not terminated:
            with suppress(Exception):  # as above; or a backend that is away
                _launch(self.task, *self.args).revoke(reason)
        super()._announce_revoked(reason, terminated, signum, expired)  # type: ignore[misc]


class Starter(Task):
    """The class of the task that publishes batches: its end is that of a whole batch."""

    abstract = True
    Request = "celery_redislock.batch.start:StartRequest"

    def start_strategy(self, app: Celery, consumer: Any, **kwargs: Any) -> Any:
        """Have a worker know us that reads its tasks: when it starts, and when it is told to read them anew.

        One that was started before anything of ours was imported learns only now that it is to watch its
        tasks, and to publish what is wanted.
        """
        rescue.see_to(consumer.controller)
        if member_run.watch(app):
            # Those that it has read before this one had not been watched.
            consumer.update_strategies()
        return super().start_strategy(app, consumer, **kwargs)

    def redislock_knows(self, canvas: Mapping[str, Any], *_: Any) -> bool:
        """Whether a batch is of this app: each has this task, but only one may know those of the batch."""
        names = app_tasks_of(canvas)
        return not names or not names.isdisjoint(self.app.tasks)

    def redislock_revoke(self, request: Any, reason: str) -> None:
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
    """Publish a batch if its lock is free, else come again as its policy says.

    Args:
        canvas: Frozen.
        terms: Of its lock.
        call: Of ``apply_async``.
    """
    launch = _launch(self, canvas, terms, call)
    try:
        while not _is_settled(self, launch):
            pass  # it was free again before a start could be wanted
    except TaskPredicate:
        raise
    except StoreUnavailable as error:
        _after_outage(self, launch, error)
    except Exception as error:
        # Not PENDING for ever: nobody else will publish it.
        launch.fail(error)
        if isinstance(error, LockBusy):
            sentry.report(error)
        raise


def _is_settled(task: Task[..., Any], launch: Launch) -> bool:
    """Publish a batch or meet a conflict; return False if there is none any more."""
    wanted_as = pending_in(task.request.headers)
    holder = launch.start(unless_over=True, wanted_as=wanted_as)
    if holder is None:
        return True
    if launch.is_under_way(holder):
        logger.info("batch %s has been started already: delivered again", launch.result.id)
        return True
    try:
        settle(task, launch.conflict(holder))
    except LockFreed:
        return False
    return True


def _after_outage(task: Task[..., Any], launch: Launch, error: StoreUnavailable) -> None:
    # A batch is never run without its lock: "run" comes again as "retry" does.
    on_error = "fail" if launch.options.on_error == "fail" else "retry"
    try:
        outage.settle(task, replace(launch.options, on_error=on_error), error)
    except StoreUnavailable:
        launch.fail(error)
        sentry.report(error)
        raise


def start_later(launch: Launch, holder: Any) -> None:
    """Have a worker publish a batch that met a busy lock, under the ids that it has."""
    conflict = launch.conflict(holder)
    announce(launch.starter, conflict, launch.terms.policy)
    start = _start_of(launch)
    start.apply_async(**delayed(launch.starter, start.options, retry_delay(conflict, 0)))


def want_start(launch: Launch, holder: Any) -> bool:
    """Have a batch that met a busy lock published once it is free, in place of those before it.

    Returns:
        False when the lock is free by now: the batch may be published at once.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """
    conflict = launch.conflict(holder)
    start = _start_of(launch).set(task_id=launch.start_id)
    recorded = want_call(launch.starter, start, launch.lock.name, conflict.lease_left, launch.options.keep)
    if recorded.is_free:
        return False
    announce(launch.starter, conflict, launch.terms.policy)
    if recorded.successor:
        launch.revoke(superseded_reason(launch.lock.name, recorded.successor))
    return True


def _launch(
    task: Task[..., Any], canvas: Mapping[str, Any], terms: Mapping[str, Any], call: Mapping[str, Any]
) -> Launch:
    return Launch(task.app, canvas, Terms(**terms), call)


def _start_of(launch: Launch) -> Any:
    """Return the call of the task that publishes a batch."""
    call = {**launch.call, "options": lasting(launch.app, launch.call["options"])}
    arguments = (dict(launch.canvas), launch.terms.as_dict(), call)
    expiry = {"expires": call["options"]["expires"]} if "expires" in call["options"] else {}
    return launch.starter.signature(arguments, **_sent_as(launch), **expiry)


def _sent_as(launch: Launch) -> dict[str, Any]:
    """Publish it as the batch's own tasks are, if they say so: it has their arguments in it.

    To the queue that they go to, since a worker listens there; the call's word comes before the tasks'.
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
