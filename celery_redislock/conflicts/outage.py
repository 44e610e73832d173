"""Outage: the lock could not be had before the body, for no conflict; what `lock_on_error` says of it."""

from __future__ import annotations

import logging
import random
from typing import Any

from celery import Task

from ..config.options import LockOptions
from ..errors import RedislockError
from ..messages.headers import OUTAGE_HEADER
from ..messages.republish import bounded_delay, retry_later
from .conflict import doubled_delay, left_to_retry

logger = logging.getLogger(__name__)


def settle(task: Task[..., Any], options: LockOptions, error: RedislockError) -> None:
    """Do what `lock_on_error` says: return to run without a lock, or raise what Celery is told.

    Raises:
        ComesAgain: The task was published again.
        RedislockError: The one given: "fail", or "retry" after `lock_retry_for`; eager calls are not retried.
    """
    if options.on_error == "run":
        logger.warning("Task %s[%s] runs UNLOCKED: %s", task.name, task.request.id, error)
        return
    if options.on_error == "fail" or task.request.is_eager:
        raise error
    earlier = (task.request.headers or {}).get(OUTAGE_HEADER) or {}
    count, waited_s = int(earlier.get("count", 0)), float(earlier.get("waited", 0))
    delay_s = doubled_delay(options, count) * random.uniform(0.5, 1)  # noqa: S311
    left_s = left_to_retry(options, waited_s)
    if left_s is not None:
        if left_s <= 0:
            raise error
        delay_s = min(delay_s, left_s)
    logger.warning("Task %s[%s] comes again in %.1f s: %s", task.name, task.request.id, delay_s, error)
    note = {"count": count + 1, "waited": waited_s + bounded_delay(task, delay_s)}
    retry_later(task, delay_s, OUTAGE_HEADER, note, error)
