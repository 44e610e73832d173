"""Publication: one call on its way to the broker, under a publish lock.

`apply_async` takes the publish lock, publishes, and says that it did. Between the two the publish lock
lasts for a minute, then for `lock_queue_ttl`: a publisher that dies in between blocks nobody for long.
The message carries the token; the run that it starts ends the publish lock, see `run`.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

from celery import Signature, states
from celery.app.task import Context
from celery.result import AsyncResult

from ..config.call import Call
from ..conflicts.conflict import Conflict, announce
from ..errors import StoreUnavailable
from ..holder import Holder
from ..messages import replies, sentry
from ..messages.headers import PENDING_HEADER, TICKET_HEADER, ticket_in, ticket_value
from ..publish_lock import ticket as queued
from ..publish_lock.record import PublishLock
from .expiry import lasting, waiting_ms

logger = logging.getLogger(__name__)

#: How long the publish lock lasts until the message is out, milliseconds.
PUBLISHING_MS = 60_000
#: How long a publisher goes on asking while Redis is away, all steps together, seconds.
AWAY_S = 5.0
#: What the last step has for itself when that time is over, seconds.
LAST_STEP_S = 0.1

Send = Callable[..., "AsyncResult[Any]"]


class Publication:
    """One call on its way to the broker.

    Attributes:
        task_id: Under which it is, or would be, published.
        is_fixed: The id was given from outside, and somebody may wait for its result.
        is_sent_by_celery: As the next member of a chain, or a callback, of a task that has returned.
    """

    def __init__(self, call: Call, options: dict[str, Any]) -> None:
        self.task_id: str = call.task_id
        self.is_fixed = options.get("task_id") is not None
        self.task = call.task
        self._call = call
        self._lock_options = call.plan.options
        self._options = call.named(options)
        self._token = uuid4().hex
        self._lock: PublishLock | None = None
        self._until = 0.0
        self._is_marked = True
        self._is_out = False
        self._is_own = call.task.request.id == self.task_id
        self.is_sent_by_celery = options.get("parent_id") is not None and not self._comes_again()

    def claim(self) -> Conflict | None:
        """Take the publish lock; return what it met, if that is to be decided."""
        options, lock_name = self._lock_options, self._call.lock_name
        self._lock = queued.publish_lock(self.task.app, lock_name)
        try:
            there = self._take_patiently(self._lock)
        except StoreUnavailable as error:
            if not self._comes_again() and options.on_error != "run" and options.mode != "shadow":
                queued.free(self._lock, self._token, self._left_s())
                raise
            logger.warning("Task %s[%s] is published UNLOCKED: %s", self.task.name, self.task_id, error)
            return None
        if there is None or self._comes_again():
            return None
        shadow = options.mode == "shadow"
        conflict = Conflict(lock_name, there, self.task_id, self._call.args_hash, shadow, self.task, options)
        if shadow:
            announce(self.task, conflict, str(options.on_conflict))
            self._is_marked = False
        return conflict

    def send(self, send: Send) -> AsyncResult[Any]:
        """Publish, and let the publish lock last until the task begins; nothing stays if that fails."""
        options, lock = self._options, self._lock
        if self._is_marked:
            headers = {**(options.get("headers") or {}), TICKET_HEADER: self._ticket()}
            options = {**options, "headers": headers}
        try:
            result: AsyncResult[Any] = self._call.publish(send, options)
            self._is_out = True
        except BaseException:
            self.give_up()
            raise
        if lock is not None:
            # Where Redis is away just now, it lasts for a minute only.
            with suppress(StoreUnavailable):
                lock.keep(self._token, self._waiting_ms(), within=self._left_s())
        return result

    def give_up(self) -> None:
        """Free the publish lock, unless the message is out: then it is the message's."""
        if self._lock is not None and not self._is_out:
            queued.free(self._lock, self._token)

    def signature(self) -> Signature[Any]:
        """Return the call, to be published later."""
        options = {"expires": self.task.expires, **self._options}
        # Another process publishes it: the reply to it comes here all the same.
        replies.expect_here(self.task.app, self.task_id)
        options["reply_to"] = replies.address_here(self.task.app, options.get("reply_to"))
        return self.task.signature(self._call.args, self._call.kwargs, **lasting(self.task.app, options))

    def is_answered_by(self, task_id: str | None) -> AsyncResult[Any]:
        """Return the result of another call that stands for this one, if it has any."""
        sentry.close_check_in(self._options.get("headers"))
        return self.result(task_id)

    def result(self, task_id: str | None = None) -> AsyncResult[Any]:
        """Return the result of this call, or of another."""
        return self.task.AsyncResult(task_id or self.task_id)

    def end(self, error: Exception, state: str) -> None:
        """Store how this call ended that is not published, for whoever waits for it, its chain or chord."""
        options = self._options
        ignored = options.get("ignore_result")
        ignored = self.task.ignore_result if ignored is None else ignored
        replies.expect_here(self.task.app, self.task_id)
        try:
            self.task.backend.mark_as_failure(
                self.task_id,
                error,
                request=self._request(),
                store_result=not ignored or bool(options.get("chain")),
                call_errbacks=state == states.FAILURE,
                state=state,
            )
        except Exception as unstored:  # noqa: BLE001 - the publisher's call is decided all the same
            logger.warning(
                "Task %s[%s]: state %s not stored: %r", self.task.name, self.task_id, state, unstored
            )

    def _take_patiently(self, lock: PublishLock) -> Holder | None:
        is_patient = self._lock_options.on_error == "retry" and self._lock_options.mode != "shadow"
        self._until = time.monotonic() + AWAY_S
        while True:
            try:
                return self._take(lock)
            except StoreUnavailable:
                pause_s = random.uniform(0.05, 0.3)  # noqa: S311
                if not is_patient or self._comes_again() or self._until - time.monotonic() <= pause_s:
                    raise
                time.sleep(pause_s)

    def _left_s(self) -> float:
        """Return what is left of the time for Redis, for a last step: as much as one that answers needs."""
        return min(max(self._until - time.monotonic(), LAST_STEP_S), queued.FREE_S)

    def _take(self, lock: PublishLock) -> Holder | None:
        facts: dict[str, Any] = {
            "again": self._comes_again(),
            "runs": self._lock_options.scope == "task",
        }
        ttl_ms = min(PUBLISHING_MS, self._waiting_ms())
        within = self._until - time.monotonic()
        there = lock.take(self._token, self.task_id, ttl_ms, exempt=self._sender(), within=within, **facts)
        if there is not None and self._has_returned(there):
            exempt, within = there.metadata["id"], self._until - time.monotonic()
            there = lock.take(self._token, self.task_id, ttl_ms, exempt=exempt, within=within, **facts)
        return there

    def _comes_again(self) -> bool:
        """Whether it was accepted before and is never refused: a retry, a put-off copy, a wanted run."""
        headers = self._options.get("headers") or {}
        is_marked = PENDING_HEADER in headers or bool(ticket_in(headers, self.task_id))
        return self._is_own or is_marked or bool(self._options.get("retries"))

    def _sender(self) -> str:
        """Return the id of the task that publishes this one, if any: its own lock does not count."""
        sender = self._options.get("parent_id")
        if sender is None and self.task.app.current_worker_task:
            sender = self.task.app.current_worker_task.request.id
        return str(sender or "")

    def _has_returned(self, there: Holder) -> bool:
        """Whether the result of who waits or runs is stored: it has ended, or will have in a moment.

        One that waits may have ended where nobody could give its publish lock back: under a worker without
        this package, say. Whoever read that result and publishes at once must not be answered with it. When
        it was stored is not asked: a backend tells that by another clock than Redis's, some in a zone that
        they do not name, some in whole seconds. It may be of an earlier run of this id: then one call is
        published too many.
        """
        holder_id = there.metadata.get("id")
        # An id of the caller's own making: its result may be of a call long ago, while this one waits.
        is_given_again = there.since is None and holder_id == self.task_id
        if holder_id is None or is_given_again:
            return False
        try:
            return self.result(holder_id).state in states.READY_STATES
        except Exception:  # noqa: BLE001 - a backend that cannot tell: it runs
            return False

    def _waiting_ms(self) -> int:
        return waiting_ms(self.task, self._options, self._lock_options.queue_ttl_ms)

    def _ticket(self) -> Mapping[str, str]:
        return ticket_value(self.task_id, self._lock.name if self._lock else "", self._token)

    def _request(self) -> Context:
        """Return the request that the message would have become."""
        options = self._options
        return Context(
            id=self.task_id,
            task=self.task.name,
            args=self._call.args,
            kwargs=self._call.kwargs,
            headers=options.get("headers"),
            chain=options.get("chain"),
            chord=options.get("chord"),
            group=options.get("group_id"),
            group_index=options.get("group_index"),
            root_id=options.get("root_id"),
            parent_id=options.get("parent_id"),
            errbacks=_listed(options.get("link_error")),
            reply_to=replies.address_here(self.task.app, options.get("reply_to")),
            delivery_info={},
        )


def _listed(value: Any) -> list[Any] | None:
    return value if isinstance(value, list | None) else [value]
