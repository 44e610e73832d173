"""Ended: a message that has ended, in whatever way, gives back what it came with.

That is its publish lock, and its place before those that are wanted under the same lock, see
``withdrawal.py``. Nearly always the run itself has done that when it took its lock. Here are the other
ends: the task is unknown here, or not locked here (yet); its content is refused; it was revoked or has
expired; what it was called with gives no name. Every worker that the command line starts listens,
whatever tasks it has.

The message alone says which lock and which token: see ``queued.py``. Where no worker could say that a
message has ended, its stored result does, see ``publication.py``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, wraps
from typing import Any

from celery import Celery, states
from celery.exceptions import Reject

from ..conflicts.redelivery import PutOff
from ..messages.headers import TICKET_HEADER
from ..messages.republish import ComesAgain
from ..pending import withdrawal
from ..publish_lock import ticket as queued


def refused(sender: Any = None, message: Any = None, **_: Any) -> None:
    """At ``task_unknown`` and ``task_rejected``: unknown, malformed, or of a content that is not accepted."""
    if message is not None:
        _free_apart(sender.app, message.headers)


def listen_for_undecoded(sender: Any = None, **_: Any) -> None:
    """At ``worker_ready``: listen for content that cannot be read, of which Celery sends no signal."""
    if not hasattr(sender.on_decode_error, "__wrapped__"):  # ready again, after its connection was lost
        sender.on_decode_error = _told(sender.app, sender.on_decode_error)


def _told(app: Celery, on_decode_error: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(on_decode_error)
    def undecoded(message: Any, error: Any) -> Any:
        try:
            return on_decode_error(message, error)
        finally:
            _free_apart(app, message.headers)

    return undecoded


def revoked(sender: Any = None, request: Any = None, **_: Any) -> None:
    """At ``task_revoked``, which the worker's parent sends: revoked or expired, the task never begins."""
    if sender is not None and request is not None:
        _free_apart(sender.app, vars(request))


def ran(sender: Any = None, retval: Any = None, state: Any = None, **_: Any) -> None:
    """At ``task_postrun``: a run that took no lock, or one of another name, has ended."""
    # Of what has taken its lock nothing is left to be freed. What comes again goes on waiting.
    request = getattr(sender, "request", None)
    if request is None or not request.headers:
        return
    if state == states.FAILURE:
        withdrawal.withdraw_here(sender)
    if TICKET_HEADER not in request.headers:
        return
    if state == states.RETRY or isinstance(retval, ComesAgain | PutOff):
        return
    if not (isinstance(retval, Reject) and getattr(retval, "requeue", False)):
        queued.free_of_message(sender.app, request.headers, request.id)


def broke(sender: Any = None, request: Any = None, **_: Any) -> None:
    """At ``task_internal_error``: an error of Celery's own, after which there may be no ``task_postrun``."""
    headers = request if isinstance(request, Mapping) else vars(request or object)
    if sender is not None:
        queued.free_of_message(sender.app, headers, headers.get("id"))
        withdrawal.withdraw_apart(sender.app, headers)


def _free_apart(app: Celery, headers: Any) -> None:
    """Free the publish lock of a message in a thread: a worker's loop must not wait for Redis."""
    if not isinstance(headers, Mapping):
        return
    withdrawal.withdraw_apart(app, headers)
    if TICKET_HEADER in headers:
        _freeing(os.getpid()).submit(queued.free_of_message, app, dict(headers), headers.get("id"))


@cache
def _freeing(pid: int) -> ThreadPoolExecutor:
    del pid  # one for each process: a fork has no threads
    return ThreadPoolExecutor(1, thread_name_prefix="redislock-ended")
