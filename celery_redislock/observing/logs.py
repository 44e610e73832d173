"""Logs: one line for what happened to a call, with flat fields for machines."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery

from ..events import Conflicted

logger = logging.getLogger(__name__)


class Log:
    """Writes events into the log."""

    def hear(self, event: Any) -> None:
        """Write the line of an event, if it has one."""
        # A call that another stands for, or that is put off, has a line of its own where that is decided.
        if type(event) is Conflicted and event.conflict is not None:
            would = "would " if event.is_shadow else ""
            logger.info(
                "Task %s[%s] %s%s: %s", event.task.name, event.task_id, would, event.action, event.reason
            )

    def close(self) -> None:
        """Nothing is left."""


def destination_of(app: Celery) -> Log:
    """Return the log: each app has one."""
    del app
    return Log()
