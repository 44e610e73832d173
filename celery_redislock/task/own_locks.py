"""Own locks: makes the locks of a task's runs; what they have in common is made once in each process."""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from typing import Any
from weakref import ref

from ..config.call import Call
from ..config.provider import provider_of
from ..config.several_locks import SeveralLocks
from ..engine import RedisLock, Setup, holder_record
from ..holder import TRACEPARENT, holder_metadata
from ..messages.headers import PENDING_HEADER
from ..observing import traces
from ..pending.record import trigger_metadata
from ..pending.replacement import notice_within_s

#: Between these stands the id of the task, see `holder_metadata`.
_BEFORE_ID, _AFTER_ID = ("task",), ("host", "pid")


class OwnLocks:
    """Makes the locks of the runs that have one plan.

    Args:
        call: One of them.

    Raises:
        ConfigurationError: A setting is wrong, or the call gives no limit.
    """

    def __init__(self, call: Call) -> None:
        task, plan = call.task, call.plan
        within_s = notice_within_s(plan.options)
        self._interval_s = math.inf if within_s is None else within_s
        #: None: a function of the user's has a limit for each call.
        self._setups: list[Setup] | None = None
        if all(sharing.is_fixed for sharing in plan.sharings):
            self._setups = provider_of(task.app).setups_of(call, self._interval_s)
        self._task_name = task.name
        self._traceparent = traces.traceparent_of(task.app)
        self._written = self._write()

    def lock_of(self, call: Call, request: Any, observer: Any, ticket: str) -> RedisLock:
        """Return the lock of a run.

        Args:
            call: What runs.
            request: Celery's, of the run.
            observer: Is told what becomes of the lock, while something else refers to it.
            ticket: As `RedisLock` takes it.

        Raises:
            TypeError, LockKeyError: The call gives no name.
            ConfigurationError: The call gives no limit.
        """
        lock_name = call.lock_name
        setup = (self._setups or self._setups_of(call))[0]
        return RedisLock.by(setup, lock_name, self._metadata(request), ref(observer), ticket)

    def locks_of(self, call: Call, request: Any, observer: Any, but: Collection[str] = ()) -> SeveralLocks:
        """Return the locks of a run that has several.

        Args:
            call, request, observer: As in `lock_of`.
            but: The Redis keys of those that are not to be taken.

        Raises:
            TypeError, LockKeyError, ConfigurationError: As in `lock_of`.
        """
        names, metadata, told = call.lock_names, self._metadata(request), ref(observer)
        named = zip(self._setups or self._setups_of(call), names, strict=True)
        return SeveralLocks(
            RedisLock.by(setup, name, metadata, told) for setup, name in named if name not in but
        )

    def _setups_of(self, call: Call) -> list[Setup]:
        return provider_of(call.task.app).setups_of(call, self._interval_s)

    def _metadata(self, request: Any) -> str:
        """Return what the lock of a run shows of its holder."""
        pid, before, after = self._written
        if pid != os.getpid():
            self._written = _, before, after = self._write()
        if type(request.id) is str and PENDING_HEADER not in request.headers:
            metadata = before + holder_record.quoted(request.id) + after
        else:
            facts = {**holder_metadata(self._task_name, request.id), **trigger_metadata(request)}
            metadata = holder_record.write(facts)
        traceparent = "" if self._traceparent is None else self._traceparent()
        if traceparent:
            metadata = holder_record.with_one_more(metadata, TRACEPARENT, traceparent)
        return metadata

    def _write(self) -> tuple[int, str, str]:
        """Return the part of the metadata that is the same for all runs of this process."""
        facts = holder_metadata(self._task_name)
        before, after = ({name: facts[name] for name in names} for names in (_BEFORE_ID, _AFTER_ID))
        return os.getpid(), *holder_record.written_around(before, "id", after)


def own_locks_of(call: Call) -> OwnLocks:
    """Return what makes the lock of a call.

    Raises:
        ConfigurationError: A setting is wrong, or the call gives no limit.
    """
    made = call.plan.made
    try:
        locks: OwnLocks = made[OwnLocks]
    except KeyError:
        locks = made[OwnLocks] = OwnLocks(call)
    return locks
