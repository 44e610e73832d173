"""Counting: which messages belong to a batch, and how Redis counts them.

Every message of a batch has a header that names the batch. It is counted before it is published, and no
longer when its run has ended. What a member publishes to continue the batch (the next task of a chain, the
body of a chord, callbacks, a retry, a replacement) is counted before the member itself has ended. So the
batch has ended when no message is in flight, whatever its shape and however it ended.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from celery import Celery

from ..engine.group_lease import Left, Member
from ..errors import StoreUnavailable
from ..messages.headers import BATCH_HEADER
from ..pending.publish import publish_pending_apart
from ..task import held_locks
from ..task.unlocked import HeldByBatch
from .canvas import app_of, tasks_of, write_header
from .note import BatchNote, note_in

logger = logging.getLogger(__name__)

#: For how long a batch is remembered as the work that was done last, milliseconds: the message that starts it
#: may come again.
REMEMBERED_MS = 3_600_000

#: Celery's task that waits for a chord's header where the result backend cannot tell.
_UNLOCK = "celery.chord_unlock"


@dataclass
class Membership:
    """A member that runs in this thread: what it publishes may belong to the batch too.

    Attributes:
        app: The app.
        note: Of the batch.
        request: Of the member's task; None while the batch itself is published.
    """

    app: Celery
    note: BatchNote
    request: Any = None
    _unsent: list[Member] = field(default_factory=list)

    def lock_held(self, key: str) -> HeldByBatch | None:
        """Return what a body sees as its lock if the batch holds it: that lock is not the body's own."""
        return HeldByBatch() if key == self.note.lock else None

    def announce(self, message: BatchNote, metadata: Mapping[str, str]) -> None:
        """Count a message that is about to be published.

        Args:
            message: The note in its headers.
            metadata: What people are shown of it.

        Raises:
            StoreUnavailable: Redis could not be reached.
        """
        self.withdraw()
        member = message.member(self.app, message.message)
        # Before it is counted: when that is interrupted, it may be counted already.
        self._unsent.append(member)
        if not member.wait(self.note.idle_ms, metadata):
            logger.warning("lock %r no longer belongs to batch %s", message.lock, message.id)

    def sent(self) -> None:
        """Note that the message that was announced last has been published."""
        self._unsent.clear()

    def withdraw(self) -> None:
        """Stop counting the message that was announced last, if it was not published."""
        while self._unsent:
            depart(self.app, self._unsent.pop(), self.note)

    def continues(self, headers: Mapping[str, Any], arguments: Any) -> bool:
        """Whether a message that is published here continues the batch.

        A task may send other messages too: they do not belong to the batch.

        Args:
            headers: Of the message.
            arguments: Of its task.
        """
        if self.request is None:
            return True
        if headers.get("task") == _UNLOCK:
            return self._owns_body(arguments)
        if headers.get("replaced_task_nesting", 0) > (self.request.replaced_task_nesting or 0):
            return True
        # Task.add_to_chord: the group is that of the running member.
        return self.request.group is not None and headers.get("group") == self.request.group

    def _owns_body(self, arguments: Any) -> bool:
        body = arguments[1] if len(arguments) > 1 else None
        if not body:
            return False
        # A body that is a chain has no headers: its tasks have them.
        if any(note_in(task["options"].get("headers")) for task in tasks_of(body)):
            return True
        nesting: int = body["options"].get("replaced_task_nesting", 0)
        return nesting > (self.request.replaced_task_nesting or 0)


def begin(membership: Membership) -> None:
    """Have what is published in this thread from now on belong to the batch if it continues it."""
    held_locks.enter(membership)


def end(membership: Membership) -> None:
    """End what `begin` began; a message that was announced and not published is not counted any more."""
    held_locks.leave(membership)
    membership.withdraw()


@contextmanager
def publishing(app: Celery, note: BatchNote, metadata: Mapping[str, str]) -> Iterator[None]:
    """Have all that is published inside the block belong to a batch; meanwhile its publisher is a member.

    Args:
        app: The app.
        note: Of the batch.
        metadata: What people are shown of the publisher.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """
    publisher = note.member(app, uuid4().hex)
    membership = Membership(app, note)

    def leave() -> None:
        end(membership)
        depart(app, publisher, note)

    try:
        begin(membership)
        publisher.run(note.ttl_ms, metadata)
        yield
        leave()
    except BaseException:
        # Once more if `leave` was interrupted: a publisher in flight keeps the lock.
        leave()
        raise


def depart(app: Celery, member: Member, note: BatchNote) -> None:
    """Stop counting a member that has ended; the last one gives the lock back. Never raises.

    Whoever gives the lock back publishes the runs that are pending under it.

    Args:
        app: The app.
        member: The member.
        note: Of its batch.
    """
    try:
        left = member.depart(note.idle_ms, note.call, REMEMBERED_MS)
    except StoreUnavailable as error:
        logger.warning("could not record that a member of batch %s has ended: %s", note.id, error)
        return
    if left >= Left.NOBODY:
        logger.info("batch %s has ended: lock %r released", note.id, note.lock)
    if left is Left.PENDING:
        publish_pending_apart(app, note.lock)


def step_aside(member: Member, note: BatchNote, metadata: Mapping[str, str]) -> None:
    """Count a member that ran as one that waits again. Never raises.

    Args:
        member: The member.
        note: Of its batch.
        metadata: What people are shown of it.
    """
    try:
        member.step_aside(note.idle_ms, metadata)
    except StoreUnavailable as error:
        logger.warning("could not record that a member of batch %s has stopped: %s", note.id, error)


def announce(sender: Any = None, headers: Any = None, body: Any = None, **_: Any) -> None:
    """At ``before_task_publish``: count a message of a batch before it is published."""
    if headers is None:
        return
    here = held_locks.innermost(Membership)
    note = note_in(headers)
    arguments = body[0] if isinstance(body, tuple | list) else ()
    if note is None:
        if here is None or not here.continues(headers, arguments):
            return
        note = here.note
    if here is None or here.note.token != note.token:
        # No member runs here: a worker's parent publishes for a dead child, or a user publishes a member.
        here = Membership(app_of(None), note)
    message = note.of_new_message()
    headers[BATCH_HEADER] = message.as_dict()
    _write_into(headers.get("task"), body, message)
    try:
        here.announce(message, {"task": str(sender), "id": str(headers.get("id"))})
    except StoreUnavailable as error:
        logger.warning(
            "task %s of batch %s is published, but could not be counted: %s", sender, note.id, error
        )


def confirm(headers: Any = None, **_: Any) -> None:
    """At ``after_task_publish``: note that a message of a batch has been published."""
    here = held_locks.innermost(Membership)
    if here is not None and note_in(headers) is not None:
        here.sent()


def _write_into(task_name: Any, body: Any, message: BatchNote) -> None:
    """Write the note of the batch into the signatures in a message: what is published later because of it."""
    if not isinstance(body, tuple | list) or len(body) < 3:
        return
    note = replace(message, message="").as_dict()
    arguments, _, embedded = body
    for word in ("callbacks", "errbacks", "chain", "chord"):
        later = embedded.get(word)
        for signature in later if isinstance(later, list | tuple) else [later]:
            if signature:
                write_header(signature, BATCH_HEADER, note)
    if task_name == _UNLOCK and len(arguments) > 1:
        write_header(arguments[1], BATCH_HEADER, note)
