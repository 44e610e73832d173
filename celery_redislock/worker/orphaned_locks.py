"""Orphaned locks: gives back what a dead child of this worker held, or its place in line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from celery import Celery

from ..config.call import Call
from ..config.provider import provider_of
from ..config.several_locks import tokens_under
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
    """Give back the locks that a dead child held, or its place in line.

    Args:
        call: That the child ran.
        token: Of the delivery.

    Raises:
        StoreUnavailable: Redis could not be reached; the lock ends with its lease.
        TypeError, LockKeyError: The call gives no name: the child has taken no lock.
    """
    if not call.plan.runs_locked:
        return
    app, client = call.task.app, provider_of(call.task.app).client
    for lock_name, tokens, min_hold_ms in held_by(call, token):
        released = [release_orphan(client, lock_name, each, min_hold_ms) for each in tokens]
        if any(released):
            tell(Orphaned(call.task, str(call.task_id), lock_name, "parent"))
        # Also if the child had released it: it may have died before it published the pending runs.
        publish_pending(app, lock_name)


def held_by(call: Call, token: str) -> Iterator[tuple[str, list[str], int]]:
    """Go over the locks of a call, with the tokens that a delivery may have for each, and its `min_hold`."""
    plan = call.plan
    if not plan.namings:
        yield call.lock_name, [token], plan.options.min_hold_ms
        return
    held: dict[str, int] = {}
    for min_hold_ms, name in zip(plan.min_holds_ms, call.lock_names, strict=True):
        held[name] = max(held.get(name, 0), min_hold_ms)
    for name in sorted(held, reverse=True):
        yield name, tokens_under(token, name), held[name]
