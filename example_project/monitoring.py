"""Signals turned into events: where a user would feed metrics or a dashboard."""

from __future__ import annotations

import os
from typing import Any

from celery.signals import after_task_publish, worker_ready

from celery_redislock.signals import lock_conflict

from .events import record

#: The environment variable that names a program, for the events that it records.
PROGRAM = "EXAMPLE_PROGRAM"


def connect() -> None:
    """Listen to the signals of this process."""
    after_task_publish.connect(_published)
    worker_ready.connect(_ready)
    lock_conflict.connect(_conflict)


def _published(headers: dict[str, Any], **_: object) -> None:
    record("published", headers["id"])
    tick = headers.get("redislock_beat")
    if tick:
        record(
            "ticked",
            headers["id"],
            name=os.environ.get(PROGRAM, "beat"),
            group=f"{tick['entry']}, {tick['due']}",
        )


def _ready(**_: object) -> None:
    record("ready")


def _conflict(sender: Any, action: str, **_: object) -> None:
    # A batch is no run of a task: whoever publishes it records what became of it.
    if action == "skip" and sender.request.id:
        record("skipped", sender.request.id)
