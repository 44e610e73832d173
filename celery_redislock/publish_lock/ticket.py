"""Queued: the publish lock that a message carries, for those who run, revoke or bury its task."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from celery import Celery

from ..config.provider import provider_of
from ..errors import StoreUnavailable
from ..messages.headers import ticket_in
from .record import PublishLock

logger = logging.getLogger(__name__)

#: Redis has so long to take back a publish lock, seconds: whoever asks has better things to do.
FREE_S = 1.0


def publish_lock(app: Celery, lock_name: str) -> PublishLock:
    """Return the publish lock of a lock, by the Redis key of that."""
    return PublishLock(provider_of(app).client, lock_name)


def free(lock: PublishLock, token: str, within: float = FREE_S) -> None:
    """Give a publish lock back, if it is this token's, in so many seconds; never raises."""
    try:
        lock.free(token, within=within)
    except StoreUnavailable as error:
        logger.warning("could not free the publish lock: %s; it ends by itself with lock_queue_ttl", error)


def free_of_message(app: Celery, headers: Mapping[str, Any] | None, task_id: str | None) -> None:
    """Give back the publish lock that a message came with, if it still has it; never raises.

    It is known by what the message says alone: neither its task nor its arguments need be known here.
    """
    found = ticket_in(headers, task_id)
    if not found:
        return
    try:
        free(publish_lock(app, found["lock"]), found["token"])
    except Exception as error:  # noqa: BLE001 - such as wrong settings, in a worker without locked tasks
        logger.warning("could not free the publish lock of task %s: %r", task_id, error)


class Ticket:
    """The publish lock of a task that begins here; none where it was published without.

    Attributes:
        token: Empty where there is none.
    """

    def __init__(self, app: Celery, headers: Mapping[str, Any] | None, task_id: str | None) -> None:
        found = ticket_in(headers, task_id)
        self.token = found.get("token", "")
        self._lock_name = found.get("lock", "")
        self._app, self._headers, self._id = app, headers, task_id
        self._is_over = not self.token

    def token_under(self, lock_name: str) -> str:
        """Return the token of the publish lock that the grant of this lock is to end; empty: of none."""
        return self.token if lock_name == self._lock_name else ""

    def has_begun(self, lock_name: str) -> None:
        """Take note that the grant of this lock has ended it; free the one of another name."""
        if self.token_under(lock_name):
            self._is_over = True
        self.end()

    def end(self) -> None:
        """Free it, if that was not done; never raises."""
        if not self._is_over:
            self._is_over = True
            free_of_message(self._app, self._headers, self._id)
