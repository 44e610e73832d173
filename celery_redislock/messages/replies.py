"""Replies: results that are sent to who has asked, and to nobody else, as with ``result_backend="rpc://"``.

Whoever publishes a call has a queue of its own for replies, and its name travels with the call. What is
stored for a call that is not published, or is published later by another process, has to name it too.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from celery import Celery


def are_sent(app: Celery) -> bool:
    """Whether the results of this app are sent, and not kept where anybody can read them."""
    return hasattr(app.backend, "destination_for")


def address_here(app: Celery, given: str | None = None) -> str:
    """Return where the replies to calls go that are made here, if they do not say so themselves."""
    return given or str(app.thread_oid)


def expect_here(app: Celery, task_id: str) -> None:
    """Have replies to calls that are made here kept until they are read, as Celery does when it publishes."""
    if are_sent(app):
        with suppress(Exception), app.amqp.producer_pool.acquire(block=True) as producer:
            backend: Any = app.backend
            backend.on_task_call(producer, task_id)
