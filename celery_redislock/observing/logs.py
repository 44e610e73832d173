"""Logs: one line for what happened to a lock, with flat fields for machines; see ``log_fields.py``.

The lines of what no event tells whole, such as how long a copy is delayed, are written where it is known.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery import Celery

from ..events import Acquired, Conflicted, Forced, Orphaned, Released, Waiting
from ..log_fields import in_log
from .facts import facts_of

logger = logging.getLogger(__name__)


class Log:
    """Writes events into the log."""

    def hear(self, event: Any) -> None:
        """Write the line of an event, if it has one."""
        kind = type(event)
        if kind in _OF_EACH_RUN and not logger.isEnabledFor(logging.DEBUG):
            return
        write = _WRITERS.get(kind)
        if write is not None:
            write(event)

    def close(self) -> None:
        """Nothing is left."""


def destination_of(app: Celery) -> Log:
    """Return the log: each app has one."""
    del app
    return Log()


def _acquired(event: Acquired) -> None:
    logger.debug("Task %s[%s] has lock %r after %.3f s", *_run(event), event.waited_s, extra=_extra(event))


def _released(event: Released) -> None:
    logger.debug(
        "Task %s[%s] gives back lock %r after %.3f s", *_run(event), event.held_s, extra=_extra(event)
    )


def _waiting(event: Waiting) -> None:
    logger.debug(
        "Task %s[%s] waits for lock %r, %s", *_run(event), event.holder.in_the_way, extra=_extra(event)
    )


def _conflicted(event: Conflicted) -> None:
    # A copy that is put off has its line where it is known for how long: see `conflicts/redelivery.py`.
    if event.action == "put_off" or not logger.isEnabledFor(logging.INFO):
        return
    if event.action == "superseded":
        logger.info(
            "Task %s[%s] skipped: %s", event.task.name, event.task_id, event.reason, extra=_extra(event)
        )
        return
    would = "would " if event.is_shadow else ""
    line = "Task %s[%s] %s%s: %s"
    facts = event.task.name, event.task_id, would, event.action, event.reason
    logger.info(line, *facts, extra=_extra(event))


def _orphaned(event: Orphaned) -> None:
    what, extra = (event.lock_name, event.task.name), _extra(event)
    if event.by == "parent":
        logger.info("lock %r: released for the dead child of task %s", *what, extra=extra)
    else:
        logger.info(
            "lock %r: an earlier run of task %s left it behind, its lease has ended", *what, extra=extra
        )


def _forced(event: Forced) -> None:
    logger.info("lock %r: taken from its holder: %s", event.lock_name, event.holder, extra=_extra(event))


#: A loss has its line in the engine: a lock that no task has can be lost too.
_WRITERS: dict[type[Any], Callable[[Any], None]] = {
    Acquired: _acquired,
    Released: _released,
    Waiting: _waiting,
    Conflicted: _conflicted,
    Orphaned: _orphaned,
    Forced: _forced,
}


#: Told at the level "debug": what their lines say is not made where nobody reads it.
_OF_EACH_RUN = frozenset({Acquired, Released, Waiting})


def _run(event: Acquired | Released | Waiting) -> tuple[str, str, str]:
    return event.task.name, event.task_id, event.lock.name


def _extra(event: Any) -> dict[str, Any]:
    return in_log(**facts_of(event))
