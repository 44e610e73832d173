"""Member request: in a worker's parent, members that no child runs to the end: revoked, expired, killed."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from celery import Celery
from celery.utils.imports import symbol_by_name

from ..messages.delivery import delivery_headers
from ..messages.headers import BATCH_HEADER
from ..worker.child_deaths import LARGEST_PID, deaths_here
from ..worker.monitored_request import MonitoredRequest
from .counting import depart, step_aside
from .note import BatchNote, note_in

logger = logging.getLogger(__name__)


class MemberRequest(MonitoredRequest):
    """The request of a task that may be a member of a batch; for other tasks it does nothing.

    A member that was revoked or has expired never reaches a child. A member whose child died has ended when
    the child is dead and Celery has published what follows, whichever comes last.
    """

    _app: Celery
    _request_dict: dict[str, Any]
    _batch: BatchNote | None = None
    _is_settled = False
    _is_dead = False
    _is_requeued = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        note = note_in(self._request_dict)
        if note is not None:
            self._batch = note.of_delivery(parent=os.getpid())
            self._request_dict[BATCH_HEADER] = self._batch.as_dict()
            self._request_dict.update(delivery_headers(self.message))

    def on_accepted(self, pid: Any, time_accepted: float) -> Any:
        """Watch the child that now runs the member."""
        if self._batch is not None and pid != os.getpid() and pid <= LARGEST_PID:
            deaths_here().expect(pid, self._child_died, of="batch")
        return super().on_accepted(pid, time_accepted)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """Have the member depart if its child can no longer do that."""
        try:
            return super().on_failure(exc_info, send_failed_event, return_ok)
        finally:
            # A message that is not acknowledged, or that was put back, comes again.
            if self._batch is not None and self.acknowledged and not self._is_requeued:
                self._is_settled = True
                self._depart_when_over()

    def reject(self, requeue: bool = False) -> Any:
        """Have the member wait again before its message can come again."""
        self._is_requeued = requeue
        if requeue and self._batch is not None:
            step_aside(self._batch.delivered(self._app), self._batch, {"task": self.name, "id": self.id})
        return super().reject(requeue)

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        try:
            super()._announce_revoked(reason, terminated, signum, expired)
        finally:
            if self._batch is not None and not terminated:
                _depart_in_thread(self._app, self._batch)

    def _child_died(self) -> None:
        self._is_dead = True
        self._depart_when_over()

    def _depart_when_over(self) -> None:
        if self._batch is not None and self._is_dead and self._is_settled:
            _depart_in_thread(self._app, self._batch)


def member_request(request: Any) -> Any:
    """Return a request class that does what a task's own does, and what a member needs.

    Args:
        request: The task's own request class, or its name.
    """
    own = symbol_by_name(request)
    if issubclass(own, MemberRequest):
        return own
    return type(own.__name__, (MemberRequest, own), {"__module__": own.__module__})


def depart_unknown(sender: Any = None, message: Any = None, **_: Any) -> None:
    """At ``task_unknown``: stop counting a member that cannot run here."""
    note = note_in(message.headers)
    if note is not None:
        _depart_in_thread(sender.app, note.of_delivery())


def _depart_in_thread(app: Celery, note: BatchNote) -> None:
    """Have a member depart, in a thread: the loop of the worker must not wait for Redis."""
    _executor(os.getpid()).submit(_depart, app, note)


def _depart(app: Celery, note: BatchNote) -> None:
    try:
        depart(app, note.delivered(app), note)
    except Exception:
        logger.exception("could not record that a member of batch %s has ended", note.id)


@cache
def _executor(pid: int) -> ThreadPoolExecutor:
    del pid  # one for each process: a fork inherits no threads
    return ThreadPoolExecutor(1, thread_name_prefix="redislock-batch")
