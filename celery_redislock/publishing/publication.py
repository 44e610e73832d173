"""Publication: one call on its way to the broker, under a publish lock.

`apply_async` takes the publish lock for a minute, sends the message, and keeps the publish lock for
`lock_queue_ttl`: so a publisher that dies in between blocks nobody for long. The message carries a ticket
with the token of the publish lock, and the run that it starts ends that, see ``publish_lock/ticket.py``.
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
from celery.result import AsyncResult

from ..config.call import Call
from ..conflicts.conflict import Conflict, announce
from ..errors import LockKeyError, StoreUnavailable
from ..holder import Holder
from ..messages import replies, sentry
from ..messages.headers import PENDING_HEADER, TICKET_HEADER, ticket_in, ticket_value
from ..messages.stored_state import request_of, store_end
from ..publish_lock import ticket
from ..publish_lock.record import PublishLock
from .expiry import lasting, waiting_ms

logger = logging.getLogger(__name__)

#: How long the publish lock lasts until the message is sent, milliseconds.
PUBLISHING_MS = 60_000
#: How long a publisher goes on asking while Redis is away, in all steps together, seconds.
AWAY_S = 5.0
#: How long the last step may take when that time is over, seconds.
LAST_STEP_S = 0.1

Send = Callable[..., "AsyncResult[Any]"]


class Publication:
    """One call on its way to the broker.

    Attributes:
        task_id: Under which it is, or would be, published.
        is_fixed: The caller gave the id, and somebody may wait for its result.
        is_sent_by_celery: It is the next member of a chain, or a callback, of a task that has returned.
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
        self._deadline = 0.0
        self._has_ticket = True
        self._is_sent = False
        self._is_own = call.task.request.id == self.task_id
        self.is_sent_by_celery = options.get("parent_id") is not None and not self._comes_again()

    def take(self) -> Conflict | None:
        """Take the publish lock; return the conflict if an equal call is there, and this one may be refused.

        Raises:
            StoreUnavailable: Redis could not be reached, and `lock_on_error` is not "run".
            TypeError, LockKeyError: The arguments give no name.
        """
        options = self._lock_options
        try:
            lock_name = self._call.lock_name
        except LockKeyError as error:
            if options.mode != "shadow":
                raise
            self._has_ticket = False
            logger.warning("Task %s[%s] is published UNLOCKED: %s", self.task.name, self.task_id, error)
            return None
        self._lock = ticket.publish_lock(self.task.app, lock_name)
        try:
            there = self._take_patiently(self._lock)
        except StoreUnavailable as error:
            if not self._comes_again() and options.on_error != "run" and options.mode != "shadow":
                ticket.free(self._lock, self._token, self._left_s())
                raise
            logger.warning("Task %s[%s] is published UNLOCKED: %s", self.task.name, self.task_id, error)
            return None
        if there is None or self._comes_again():
            return None
        shadow = options.mode == "shadow"
        conflict = Conflict(
            lock_name,
            there,
            self.task_id,
            self._call.args_hash,
            shadow,
            self.task,
            options,
            _headers=self._options.get("headers"),
        )
        if shadow:
            announce(conflict, str(options.on_conflict), is_published=False)
            self._has_ticket = False
        return conflict

    def send(self, send: Send) -> AsyncResult[Any]:
        """Publish, and let the publish lock last until the task begins; free it if publishing fails."""
        options, lock = self._options, self._lock
        if self._has_ticket:
            headers = {**(options.get("headers") or {}), TICKET_HEADER: self._ticket_value()}
            options = {**options, "headers": headers}
        try:
            result: AsyncResult[Any] = self._call.publish(send, options)
            self._is_sent = True
        except BaseException:
            self.give_up()
            raise
        if lock is not None:
            # If Redis cannot be reached, the publish lock lasts for a minute only.
            with suppress(StoreUnavailable):
                lock.keep(self._token, self._message_ttl_ms(), within=self._left_s())
        return result

    def give_up(self) -> None:
        """Free the publish lock, unless the message is sent: then it belongs to the message."""
        if self._lock is not None and not self._is_sent:
            ticket.free(self._lock, self._token)

    def signature(self) -> Signature[Any]:
        """Return the call, to be published later."""
        options = {"expires": self.task.expires, **self._options}
        # Another process publishes it, but the reply must come here.
        replies.expect_here(self.task.app, self.task_id)
        options["reply_to"] = replies.address_here(self.task.app, options.get("reply_to"))
        return self.task.signature(self._call.args, self._call.kwargs, **lasting(self.task.app, options))

    def is_answered_by(self, task_id: str | None) -> AsyncResult[Any]:
        """Return the result of the call that stands for this one; None: another program, which has none."""
        sentry.close_check_in(self._options.get("headers"))
        return self.result(task_id)

    def result(self, task_id: str | None = None) -> AsyncResult[Any]:
        """Return the result of this call, or of another."""
        return self.task.AsyncResult(task_id or self.task_id)

    def end(self, error: Exception, state: str) -> None:
        """Store how this call ended without being published, for who waits for it, and its chain or chord."""
        app, options = self.task.app, self._options
        replies.expect_here(app, self.task_id)
        options = {**options, "reply_to": replies.address_here(app, options.get("reply_to"))}
        request = request_of(options, self.task.name, self._call.args, self._call.kwargs)
        try:
            store_end(self.task, request, error, state)
        except Exception as unstored:  # noqa: BLE001 - the call itself is decided
            logger.warning(
                "Task %s[%s]: could not store the state %s: %r", self.task.name, self.task_id, state, unstored
            )

    def _take_patiently(self, lock: PublishLock) -> Holder | None:
        is_patient = self._lock_options.on_error == "retry" and self._lock_options.mode != "shadow"
        self._deadline = time.monotonic() + AWAY_S
        while True:
            try:
                return self._take(lock)
            except StoreUnavailable:
                pause_s = random.uniform(0.05, 0.3)  # noqa: S311
                if not is_patient or self._comes_again() or self._deadline - time.monotonic() <= pause_s:
                    raise
                time.sleep(pause_s)

    def _left_s(self) -> float:
        """Return how long Redis may take for a last step, seconds: at least what a working one needs."""
        return min(max(self._deadline - time.monotonic(), LAST_STEP_S), ticket.FREE_S)

    def _take(self, lock: PublishLock) -> Holder | None:
        there = self._take_once(lock, exempt=self._sender())
        if there is not None and self._has_returned(there):
            there = self._take_once(lock, exempt=there.metadata["id"])
        return there

    def _take_once(self, lock: PublishLock, exempt: str) -> Holder | None:
        return lock.take(
            self._token,
            self.task_id,
            min(PUBLISHING_MS, self._message_ttl_ms()),
            again=self._comes_again(),
            runs=self._lock_options.scope == "task",
            exempt=exempt,
            within=self._deadline - time.monotonic(),
        )

    def _comes_again(self) -> bool:
        """Whether it was accepted before, and is never refused: a retry, a put-off copy, a pending run."""
        headers = self._options.get("headers") or {}
        is_marked = PENDING_HEADER in headers or bool(ticket_in(headers, self.task_id))
        return self._is_own or is_marked or bool(self._options.get("retries"))

    def _sender(self) -> str:
        """Return the id of the task that publishes this one, if any: the lock of that task does not count."""
        sender = self._options.get("parent_id")
        if sender is None and self.task.app.current_worker_task:
            sender = self.task.app.current_worker_task.request.id
        return str(sender or "")

    def _has_returned(self, there: Holder) -> bool:
        """Whether the call that is there has a result: it has ended, or will have ended in a moment.

        A call that waits may have ended where nobody could free its publish lock: under a worker without this
        package, say. Who reads its result and then publishes must not be answered with that result. The date
        of the result is not compared: backends take it from another clock than Redis's, some in an unnamed
        time zone, some in whole seconds. If the result is of an earlier run with this id, one call too many
        is published.
        """
        holder_id = there.metadata.get("id")
        # The caller gave one id to two calls: the result may be of the earlier one, while the other waits.
        is_one_id = there.since is None and holder_id == self.task_id
        if holder_id is None or is_one_id:
            return False
        try:
            return self.result(holder_id).state in states.READY_STATES
        except Exception:  # noqa: BLE001 - a backend that cannot tell: it has not ended
            return False

    def _message_ttl_ms(self) -> int:
        return waiting_ms(self.task, self._options, self._lock_options.queue_ttl_ms)

    def _ticket_value(self) -> Mapping[str, str]:
        return ticket_value(self.task_id, self._lock.name if self._lock else "", self._token)
