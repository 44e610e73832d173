"""Membership: which messages belong to a locked batch, and what Redis is told when one is published.

Every message of a batch carries a header that names the batch. Before it is published, Redis counts it
as a member that is out; when its run has ended, no more. What a member publishes as the batch's
continuation (the next of a chain, a chord's body, callbacks, a retry, a replacement) is counted before
that member has ended itself: so the batch has ended when nobody is out, whatever its shape and however
it ended.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from uuid import uuid4

from celery import Celery

from ..config.provider import provider_of
from ..engine.group_lease import Left, Member
from ..errors import StoreUnavailable
from ..messages.headers import BATCH_HEADER
from ..pending import publish as wanted
from ..task import current
from ..task.unlocked import Unlocked
from .canvas import app_of, tasks_of, write_header

logger = logging.getLogger(__name__)

#: Celery's task that waits for a chord's header where the result backend cannot tell.
_UNLOCK = "celery.chord_unlock"


@dataclass(frozen=True)
class Note:
    """What a message of a batch says of it: JSON.

    Attributes:
        lock: The Redis key.
        token: What the batch holds it with.
        id: The batch: the id of its last result.
        call: The call that published it: two batches may be given one id.
        ttl_ms: Length of the lease while a member runs.
        idle_ms: Length of the lease while members only wait.
        policy: What a member does that finds the lock with somebody else.
        min_replicas: As for a `RedisLock`.
        message: This message; a retry is another.
        run: This delivery of it; empty until it is delivered.
        parent: The process that received it; 0 until then.
    """

    lock: str
    token: str
    id: str
    call: str
    ttl_ms: int
    idle_ms: int
    policy: str
    min_replicas: int = 0
    message: str = ""
    run: str = ""
    parent: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return it as it travels."""
        return asdict(self)

    def member(self, app: Celery, name: str, **options: Any) -> Member:
        """Return a member of this batch."""
        options = {"min_replicas": self.min_replicas, **options}
        return Member(provider_of(app).client, self.lock, self.token, name, **options)

    def delivered(self, app: Celery, **options: Any) -> Member:
        """Return the member that this delivery is."""
        return self.member(app, self.run, waited_as=self.message, **options)


def note_in(headers: Mapping[str, Any] | None) -> Note | None:
    """Return what the headers of a message say of its batch; None when it belongs to none."""
    found = (headers or {}).get(BATCH_HEADER)
    return Note(**found) if found else None


@dataclass
class Membership:
    """A member at work in this process and thread: what it publishes may belong to the batch too.

    Attributes:
        app: Its app.
        note: Of its batch.
        request: Its task's request; None where the batch itself is published.
    """

    app: Celery
    note: Note
    request: Any = None
    _unsent: list[Member] = field(default_factory=list)

    def lock_held(self, key: str) -> Unlocked | None:
        """Return what a body sees as the lock if the batch has it: the lock is not the body's own."""
        return Unlocked() if key == self.note.lock else None

    def announce(self, message: Note, words: Mapping[str, str]) -> None:
        """Have Redis count a message that is about to be published."""
        self.withdraw()
        member = message.member(self.app, message.message)
        # First: interrupted, it may be counted already.
        self._unsent.append(member)
        if not member.wait(self.note.idle_ms, words):
            logger.warning("lock %r is not batch %s's any more", message.lock, message.id)

    def sent(self) -> None:
        """Take note that the message announced last has been published."""
        self._unsent.clear()

    def withdraw(self) -> None:
        """Have Redis forget the message announced last if it was never published."""
        while self._unsent:
            depart(self.app, self._unsent.pop(), self.note)

    def continues(self, headers: Mapping[str, Any], arguments: Any) -> bool:
        """Whether a message published here is the batch's own, and not merely sent by one of its tasks."""
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
        # A body that is a chain has no headers of its own: its tasks have them.
        if any(note_in(task["options"].get("headers")) for task in tasks_of(body)):
            return True
        nesting: int = body["options"].get("replaced_task_nesting", 0)
        return nesting > (self.request.replaced_task_nesting or 0)


def begin(membership: Membership) -> None:
    """Let what is published from here on belong to the batch, where it continues it."""
    current.enter(membership)


def end(membership: Membership) -> None:
    """Let it no more; a message that was announced and not published is forgotten."""
    current.leave(membership)
    membership.withdraw()


@contextmanager
def publishing(app: Celery, note: Note, words: Mapping[str, str]) -> Iterator[None]:
    """Let all that is published inside belong to a batch; the publisher counts as a member meanwhile.

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
        publisher.run(note.ttl_ms, words)
        yield
        leave()
    except BaseException:
        # Once more if that was interrupted: who is out keeps the lock, and others a place in the batch.
        leave()
        raise


def depart(app: Celery, member: Member, note: Note) -> None:
    """Have Redis count a member no more; with the last one the lock is given back. Never raises.

    Whoever gives it back publishes the runs that are wanted of it.
    """
    try:
        left = member.depart(note.idle_ms, note.call)
    except StoreUnavailable as error:
        logger.warning("could not tell that a member of batch %s has ended: %s", note.id, error)
        return
    if left >= Left.NOBODY:
        logger.info("batch %s has ended: lock %r released", note.id, note.lock)
    if left is Left.WANTED:
        wanted.publish_apart(app, note.lock)


def step_aside(member: Member, note: Note, words: Mapping[str, str]) -> None:
    """Have Redis count a member as one that waits again. Never raises."""
    try:
        member.step_aside(note.idle_ms, words)
    except StoreUnavailable as error:
        logger.warning("could not tell that a member of batch %s has stopped: %s", note.id, error)


def announce(sender: Any = None, headers: Any = None, body: Any = None, **_: Any) -> None:
    """At ``before_task_publish``: count a message of a batch before it is published."""
    if headers is None:
        return
    here = current.innermost(Membership)
    note = note_in(headers)
    arguments = body[0] if isinstance(body, tuple | list) else ()
    if note is None:
        if here is None or not here.continues(headers, arguments):
            return
        note = here.note
    if here is None or here.note.token != note.token:
        # Outside a run: a worker's parent speaks for a dead child, or a batch is published by hand.
        here = Membership(app_of(None), note)
    message = replace(note, message=uuid4().hex, run="", parent=0)
    headers[BATCH_HEADER] = message.as_dict()
    _write_into(headers.get("task"), body, message)
    try:
        here.announce(message, {"task": str(sender), "id": str(headers.get("id"))})
    except StoreUnavailable as error:
        logger.warning("task %s of batch %s is published uncounted: %s", sender, note.id, error)


def confirm(headers: Any = None, **_: Any) -> None:
    """At ``after_task_publish``: take note that a message of a batch is out."""
    here = current.innermost(Membership)
    if here is not None and note_in(headers) is not None:
        here.sent()


def _write_into(task_name: Any, body: Any, message: Note) -> None:
    """Write the batch into all that a message will cause to be published later."""
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
