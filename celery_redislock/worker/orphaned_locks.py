"""Orphaned locks: gives back what a dead child of this worker held, or its place in line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery import Celery

from ..config.call import Call
from ..config.provider import provider_of
from ..engine import release_orphan
from ..events import Orphaned, tell
from ..pending.publish import publish_pending
from ..pending.withdrawal import withdraw_apart
from ..publish_lock import ticket


def free_what_it_waited_with(app: Celery, headers: Mapping[str, Any]) -> None:
    """Free the publish lock of a message, and withdraw the pending run that it was; never raises.

    Args:
        app: The worker's.
        headers: Of the message that the child ran.
    """
    ticket.free_of_message(app, headers, headers.get("id"))
    withdraw_apart(app, headers)


def release(call: Call, token: str) -> None:
    """Give back the lock that a dead child held, or its place in line.

    Args:
        call: That the child ran.
        token: Of the delivery.

    Raises:
        StoreUnavailable: Redis could not be reached; the lock ends with its lease.
        TypeError, LockKeyError: The call gives no name: the child has taken no lock.
    """
    if not call.plan.runs_locked:
        return
    app, lock_name = call.task.app, call.lock_name
    if release_orphan(provider_of(app).client, lock_name, token, call.plan.options.min_hold_ms):
        tell(Orphaned(call.task, str(call.task_id), lock_name, "parent"))
    # Also if the child had released it: it may have died before it published the pending runs.
    publish_pending(app, lock_name)
