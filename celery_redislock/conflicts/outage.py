"""Outage: Redis could not be reached, so the task has no lock: it runs without, is tried again, or fails."""

from __future__ import annotations

import logging
from typing import Any

from celery import Task

from ..config.options import LockOptions
from ..errors import RedislockError
from ..messages.headers import OUTAGE_HEADER
from ..messages.republish import bounded_delay, retry_later
from .retrying import Attempts

logger = logging.getLogger(__name__)


def settle(task: Task[..., Any], options: LockOptions, error: RedislockError) -> None:
    """Do what `lock_on_error` says: return to run without a lock, or raise what Celery is told.

    With `lock_mode` "shadow" the body always runs.

    Raises:
        ComesAgain: The task was published again.
        RedislockError: The error itself: with "fail", with "retry" after `lock_retry_for`, and in an eager
            call, which is not retried.
    """
    if options.on_error == "run" or options.mode == "shadow":
        logger.warning("Task %s[%s] runs UNLOCKED: %s", task.name, task.request.id, error)
        return
    if options.on_error == "fail" or task.request.is_eager:
        raise error
    attempts = Attempts.in_headers(task.request.headers, OUTAGE_HEADER)
    delay_s = attempts.next_delay_s(options)
    if delay_s is None:
        raise error
    logger.warning(
        "Task %s[%s] is published again, to run in %.1f s: %s", task.name, task.request.id, delay_s, error
    )
    attempts = attempts.after(bounded_delay(task, delay_s))
    retry_later(task, delay_s, OUTAGE_HEADER, attempts.as_header(), error)
