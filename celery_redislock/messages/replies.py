"""Replies: results that are sent to the caller only, as with ``result_backend="rpc://"``.

Each process that publishes calls has a queue of its own for replies, whose name travels with the call. The
result of a call that is not published, or is published later by another process, needs that name too.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from celery import Celery


def are_sent(app: Celery) -> bool:
    """Whether the results of this app are sent to the caller, and not kept where anybody can read them."""
    return hasattr(app.backend, "destination_for")


def address_here(app: Celery, given: str | None = None) -> str:
    """Return the queue for the replies to a call that is made here, unless the call names another."""
    return given or str(app.thread_oid)


def expect_here(app: Celery, task_id: str) -> None:
    """Have the reply to a call that is made here kept until it is read, as Celery does when it publishes."""
    if are_sent(app):
        with suppress(Exception), app.amqp.producer_pool.acquire(block=True) as producer:
            backend: Any = app.backend
            backend.on_task_call(producer, task_id)
