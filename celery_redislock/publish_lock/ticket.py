"""Ticket: what a message carries of its publish lock; freed when its task begins, or never will."""

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

#: For how long Redis is asked to free a publish lock, seconds. A worker that asks has others to serve.
FREE_S = 1.0


def publish_lock(app: Celery, lock_name: str) -> PublishLock:
    """Return the publish lock that belongs to a lock.

    Args:
        app: Its Redis keeps both.
        lock_name: The Redis key of the lock.
    """
    return PublishLock(provider_of(app).client, lock_name)


def free(lock: PublishLock, token: str, within: float = FREE_S) -> None:
    """Free a publish lock if this token has it; never raises.

    Args:
        lock: The publish lock.
        token: Of the ticket.
        within: Seconds that Redis has for it.
    """
    try:
        lock.free(token, within=within)
    except StoreUnavailable as error:
        logger.warning("could not free a publish lock: %s; it ends after lock_queue_ttl", error)


def free_of_message(app: Celery, headers: Mapping[str, Any] | None, task_id: str | None) -> None:
    """Free the publish lock of a message, if the message still has it; never raises.

    The ticket says all that is needed: this process need not know the task.
    """
    found = ticket_in(headers, task_id)
    if not found:
        return
    try:
        free(publish_lock(app, found["lock"]), found["token"])
    except Exception as error:  # noqa: BLE001 - such as wrong settings, in a worker without locked tasks
        logger.warning("could not free the publish lock of task %s: %r", task_id, error)


class Ticket:
    """The ticket of the message whose task begins here.

    Attributes:
        token: Of the publish lock; empty if the message has no ticket.
    """

    def __init__(self, app: Celery, headers: Mapping[str, Any] | None, task_id: str | None) -> None:
        found = ticket_in(headers, task_id)
        self.token = found.get("token", "")
        self._lock_name = found.get("lock", "")
        self._app, self._headers, self._id = app, headers, task_id
        self._is_over = not self.token

    def token_under(self, lock_name: str) -> str:
        """Return the token if the ticket is for this lock, whose grant then frees it; else empty."""
        return self.token if lock_name == self._lock_name else ""

    def has_begun(self, lock_name: str) -> None:
        """Note that the task has this lock. Its grant freed the publish lock, unless that is of another."""
        if self.token_under(lock_name):
            self._is_over = True
        self.end()

    def end(self) -> None:
        """Free the publish lock, if nothing has freed it yet; never raises."""
        if not self._is_over:
            self._is_over = True
            free_of_message(self._app, self._headers, self._id)
