"""LockedRequest: the parent's side of a run, in the process that receives the message."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, cast
from uuid import uuid4

from celery.utils.imports import symbol_by_name

from ..config.call import Call
from ..config.call_options import take_from_properties
from ..config.plan import Planned
from ..events import ChildDied, tell
from ..messages.delivery import delivery_headers
from ..messages.headers import TOKEN_HEADER
from ..pending import replacement
from . import orphaned_locks
from .child_deaths import LARGEST_PID, deaths_here
from .monitored_request import MonitoredRequest


class LockedRequest(MonitoredRequest):
    """The `Request` class of locked tasks: it releases the lock of a child process that dies.

    A task with a `Request` class of its own keeps it: this class is mixed into that one.
    """

    # It makes the token of this delivery, so that parent and child know it: neither the id of the task nor
    # the delivery tag tells two deliveries of one task apart.

    _request_dict: dict[str, Any]
    _replaced: str | None = None
    _made: Call | None = None
    _child = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._request_dict[TOKEN_HEADER] = uuid4().hex
        take_from_properties(self._request_dict)
        self._request_dict.update(delivery_headers(self.message))

    def on_accepted(self, pid: Any, time_accepted: float) -> Any:
        """Watch the child that runs the task now."""
        if pid != os.getpid() and pid <= LARGEST_PID:
            self._child = pid
            deaths_here().expect(pid, self._release_orphan)
        return super().on_accepted(pid, time_accepted)

    def terminate(self, pool: Any, signal: Any = None) -> None:
        """Look up first which run replaces this one: once that has begun, Redis does not know it any more."""
        self._replaced = self._why_replaced()
        super().terminate(pool, signal)

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        """Name the successor of a run that is terminated to make room for it."""
        if terminated:
            reason = self._replaced or self._why_replaced() or reason
        super()._announce_revoked(reason, terminated, signum, expired)

    def _why_replaced(self) -> str | None:
        with suppress(Exception):  # whatever fails: the run must end, and its end be announced
            call = self._call
            if call.plan.runs_locked:
                held = orphaned_locks.held_by(call, self._request_dict[TOKEN_HEADER])
                asked = ((name, token) for name, tokens, _ in held for token in tokens)
                reasons = (replacement.reason_to_stop(call.task.app, *each) for each in asked)
                return next(filter(None, reasons), None)
        return None

    def lock_view(self) -> dict[str, Any]:
        """Return what this worker knows of the run: its lock, task, id, child and start.

        The lock is None where there is none, also because the arguments give no name. ``locks`` has the names
        one by one, of a task that has several.
        """
        names: tuple[str, ...] = ()
        with suppress(Exception):  # a lock_key of the user's may raise anything: the other runs are shown
            call = self._call
            names = tuple(sorted(set(call.lock_names))) if call.plan.runs_locked else ()
        return {
            "lock": ", ".join(names) or None,
            "locks": list(names),
            "task": self.name,
            "id": self.id,
            "pid": self.worker_pid,
            "since": self.time_start,
        }

    @property
    def _call(self) -> Call:
        """The call of this message, made at most once: most runs end without anyone asking for it."""
        if self._made is None:
            task = cast("Planned", self.task)
            self._made = Call.in_message(task, self._request_dict, self.args, self.kwargs)
        return self._made

    def _release_orphan(self) -> None:
        headers = self._request_dict
        tell(ChildDied(self.task.app, self._child))
        # First: it needs neither the task's options nor its arguments.
        orphaned_locks.free_what_it_waited_with(self.task.app, headers)
        orphaned_locks.release(self._call, headers[TOKEN_HEADER])


def locked_request(request: Any) -> Any:
    """Return a request class, or its name, that keeps what a task's own one does and adds ours."""
    own = symbol_by_name(request)
    if issubclass(LockedRequest, own):
        return LockedRequest
    if issubclass(own, LockedRequest):
        return own
    return type(own.__name__, (LockedRequest, own), {"__module__": own.__module__})
