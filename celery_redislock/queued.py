"""Queued: the publish lock that a message carries, for those who run, revoke or bury its task."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from celery import Celery, Task

from .engine import PublishLock
from .errors import StoreUnavailable
from .provider import provider_of

logger = logging.getLogger(__name__)

#: Header of a task that was published under a publish lock: for which id, and with which token.
QUEUED_HEADER = "redislock_queued"

#: Redis has so long to take back a publish lock, seconds: whoever asks has better things to do.
FREE_S = 1.0


def note(task_id: str, token: str) -> dict[str, str]:
    """Return what travels with the message."""
    return {"id": task_id, "token": token}


def token_of(headers: Mapping[str, Any] | None, task_id: str | None) -> str:
    """Return the token of the publish lock of this very task; empty where it has none.

    Headers may have been copied from another message: its publish lock is none of ours.
    """
    found = (headers or {}).get(QUEUED_HEADER) or {}
    return str(found["token"]) if found.get("id") == task_id else ""


def publish_lock(app: Celery, lock_name: str) -> PublishLock:
    """Return the publish lock of a lock, by the Redis key of that."""
    return PublishLock(provider_of(app).client, lock_name)


def free(lock: PublishLock, token: str) -> None:
    """Give a publish lock back, if it is this token's; never raises."""
    try:
        lock.free(token, within=FREE_S)
    except StoreUnavailable as error:
        logger.warning("could not free the publish lock: %s; it ends by itself with lock_queue_ttl", error)


class Waiting:
    """The publish lock of a task that begins here; none where it was published without.

    Attributes:
        token: Empty where there is none.
    """

    def __init__(self, task: Task[..., Any], lock_name: str) -> None:
        request = task.request
        self.token = token_of(request.headers, request.id)
        self._app, self._lock_name = task.app, lock_name
        self._is_over = not self.token

    def has_ended(self) -> None:
        """Take note that the grant of the lock has ended it."""
        self._is_over = True

    def end(self) -> None:
        """Free it, if that was not done; never raises."""
        if not self._is_over:
            self._is_over = True
            free(publish_lock(self._app, self._lock_name), self.token)
