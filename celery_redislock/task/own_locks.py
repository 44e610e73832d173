"""Own locks: makes the locks of a task's runs; what they have in common is made once in each process."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Sequence
from typing import Any
from weakref import ref

from ..config.call import Call
from ..config.plan import Plan, Planned
from ..config.provider import provider_of
from ..config.several_locks import SeveralLocks
from ..engine import RedisLock, holder_record
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
        task: The task.
        plan: What holds for its runs.

    Raises:
        ConfigurationError: A setting is wrong.
    """

    def __init__(self, task: Planned, plan: Plan) -> None:
        within_s = notice_within_s(plan.options)
        interval_s, provider = math.inf if within_s is None else within_s, provider_of(task.app)
        self._setup = provider.setup_of(plan.options, interval_s)
        self._setups = [
            provider.setup_of(plan.options, interval_s, plan.min_hold_ms_of(key)) for key in plan.keys
        ]
        self._task_name = task.name
        self._traceparent = traces.traceparent_of(task.app)
        self._written = self._write()

    def lock_of(self, lock_name: str, request: Any, observer: Any, ticket: str) -> RedisLock:
        """Return the lock of a run.

        Args:
            lock_name: The Redis key.
            request: Celery's, of the run.
            observer: Is told what becomes of the lock, while something else refers to it.
            ticket: As `RedisLock` takes it.
        """
        return RedisLock.by(self._setup, lock_name, self._metadata(request), ref(observer), ticket)

    def locks_of(
        self, names: Sequence[str], but: Collection[str], request: Any, observer: Any
    ) -> SeveralLocks:
        """Return the locks of a run that has several.

        Args:
            names: The Redis keys, in the order of the declaration.
            but: Those of them that are not to be taken.
            request, observer: As in `lock_of`.
        """
        metadata, told = self._metadata(request), ref(observer)
        named = zip(self._setups, names, strict=True)
        return SeveralLocks(
            RedisLock.by(setup, name, metadata, told) for setup, name in named if name not in but
        )

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
        ConfigurationError: A setting is wrong.
    """
    made = call.plan.made
    try:
        locks: OwnLocks = made[OwnLocks]
    except KeyError:
        locks = made[OwnLocks] = OwnLocks(call.task, call.plan)
    return locks
