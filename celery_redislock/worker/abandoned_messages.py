"""Abandoned messages: one ends without a run; its publish lock is freed, its pending run withdrawn.

A run that takes its lock does both itself. These messages have no such run: the worker does not know the
task, or it is not locked here; the content is refused; the task was revoked or has expired; its arguments
give no lock name. Every worker that the command line starts listens, whatever tasks it has.

The message alone names the lock and the tokens, see `publish_lock/ticket.py` and `pending/withdrawal.py`.
When no worker notices the end of a message, its stored result tells it, see `publishing/publication.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, wraps
from typing import Any

from celery import Celery, states
from celery.exceptions import Reject

from ..messages.celery_exceptions import ComesAgain, PutOff
from ..messages.headers import TICKET_HEADER
from ..pending import withdrawal
from ..publish_lock import ticket


def on_refused(sender: Any = None, message: Any = None, **_: Any) -> None:
    """At ``task_unknown`` and ``task_rejected``: unknown, malformed, or of a content that is not accepted."""
    if message is not None:
        _give_back_in_thread(sender.app, message.headers)


def on_ready(sender: Any = None, **_: Any) -> None:
    """At ``worker_ready``: listen for content that cannot be decoded, for which Celery sends no signal."""
    # A worker that lost its connection becomes ready again, and listens already.
    if not hasattr(sender.on_decode_error, "__wrapped__"):
        sender.on_decode_error = _and_give_back(sender.app, sender.on_decode_error)


def _and_give_back(app: Celery, on_decode_error: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(on_decode_error)
    def on_undecoded(message: Any, error: Any) -> Any:
        try:
            return on_decode_error(message, error)
        finally:
            _give_back_in_thread(app, message.headers)

    return on_undecoded


def on_revoked(sender: Any = None, request: Any = None, **_: Any) -> None:
    """At ``task_revoked``, in the worker's parent: the task was revoked or has expired before it began."""
    if sender is not None and request is not None:
        _give_back_in_thread(sender.app, vars(request))


def on_postrun(sender: Any = None, retval: Any = None, state: Any = None, **_: Any) -> None:
    """At ``task_postrun``: a run has ended that took no lock, or one of another name.

    A run that took its lock leaves nothing to give back, and a message that comes again keeps what it has.
    """
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
        ticket.free_of_message(sender.app, request.headers, request.id)


def on_internal_error(sender: Any = None, request: Any = None, **_: Any) -> None:
    """At ``task_internal_error``: after an error of Celery's own there may be no ``task_postrun``."""
    headers = request if isinstance(request, Mapping) else vars(request or object)
    if sender is not None:
        ticket.free_of_message(sender.app, headers, headers.get("id"))
        withdrawal.withdraw_apart(sender.app, headers)


def _give_back_in_thread(app: Celery, headers: Any) -> None:
    """Give back what a message has, in a thread: the worker's loop must not wait for Redis."""
    if not isinstance(headers, Mapping):
        return
    withdrawal.withdraw_apart(app, headers)
    if TICKET_HEADER in headers:
        _executor(os.getpid()).submit(ticket.free_of_message, app, dict(headers), headers.get("id"))


@cache
def _executor(pid: int) -> ThreadPoolExecutor:
    del pid  # one for each process: a fork inherits no threads
    return ThreadPoolExecutor(1, thread_name_prefix="redislock-abandoned")
