"""The application under chaos: tasks that share a few locks and tell the journal what they do."""

from __future__ import annotations

import os
import time
from math import ceil
from typing import Any
from uuid import uuid4

from celery import Celery
from celery.signals import after_task_publish, before_task_publish

from celery_redislock import LockedTask, LockLost
from celery_redislock.worker.request import LockedRequest

from ..mutants import chaos as wrong
from . import gaps
from .journal import Journal, clock
from .places import LOCKS, PUBLICATION, STORE, WITHOUT
from .resource import Resource

#: Length of a lease, seconds.
TTL_S = 1.5
#: After so many seconds the broker delivers what was not acknowledged to somebody else.
VISIBILITY_S = 3

#: How often a body looks at its lock, seconds; and how often it looks until it writes again.
LOOK_S, LOOKS_FOR_A_WRITE = 0.02, 2

_store = os.environ.get(STORE, "redis://nowhere.invalid")
_without = os.environ.get(WITHOUT, "")

journal = Journal(f"{_store}/3")
resource = Resource(journal.client, is_fenced=_without != "fence")

app = Celery("tests.chaos", set_as_current=False)
app.conf.update(
    broker_url=f"{_store}/1",
    result_backend=f"{_store}/2",
    redislock_url=os.environ.get(LOCKS, "redis://nowhere.invalid"),
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_S,
        # Look for such messages each second. A worker killed while it looks must not keep others from it.
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "unacked_mutex_expire": 2,
    },
    worker_prefetch_multiplier=1,
)


class Refused(Exception):
    """The resource has seen a later holder."""


class Acknowledged(LockedRequest):
    """Tells the journal before the broker forgets a message."""

    def acknowledge(self) -> None:
        """Acknowledge the message."""
        if not self.acknowledged:
            journal.write("acknowledged", publication=self._request_dict.get(PUBLICATION))
        super().acknowledge()


@before_task_publish.connect
def _mark(headers: dict[str, Any], **_: Any) -> None:
    headers[PUBLICATION] = uuid4().hex


@after_task_publish.connect
def _tell(headers: dict[str, Any], **_: Any) -> None:
    journal.write("published", task=headers["id"], publication=headers[PUBLICATION])


class Body:
    """One run of a body, as it tells of itself."""

    def __init__(self, task: LockedTask, key: str) -> None:
        self._run = uuid4().hex
        self._lock = task.lock
        self._key = key
        self._fencing_token = self._lock.fencing_token
        self._until = self._believed_until()
        journal.write(
            "started",
            run=self._run,
            task=task.request.id,
            key=key,
            token=getattr(self._lock, "token", None),
            fencing_token=self._fencing_token,
            until=self._until,
            pid=os.getpid(),
            group=os.getpgrp(),
        )

    def look(self) -> None:
        """Tell until when the lock can be believed, if that has changed."""
        until = self._believed_until()
        if abs(until - self._until) > LOOK_S / 4 and max(until, self._until) > clock():
            journal.write("believed", run=self._run, until=until)
            self._until = until

    def write(self) -> None:
        """Write to the resource.

        Raises:
            Refused: A later holder was there before.
        """
        token = self._fencing_token
        if token is None or not resource.write(self._key, self._run, token):
            raise Refused(self._key)

    def ended(self, outcome: str) -> None:
        """Tell that the body is over, also if a loss strikes while it tells."""
        at = clock()
        try:
            journal.write("ended", run=self._run, outcome=outcome, at=at)
        except LockLost:
            journal.write("ended", run=self._run, outcome=outcome, at=at)
            raise

    def _believed_until(self) -> float:
        # In this order: a pause in between makes the time too short, not too long.
        at = clock()
        return at + self._lock.remaining


def perform(task: LockedTask, key: str, seconds: float) -> None:
    """Write to the resource for so many seconds, not counting those for which the process stood still."""
    body = Body(task, key)
    outcome = "done"
    try:
        for step in range(ceil(seconds / LOOK_S)):
            body.look()
            if step % LOOKS_FOR_A_WRITE == 0:
                body.write()
            time.sleep(LOOK_S)
    except Exception as error:
        outcome = type(error).__name__
        raise
    finally:
        body.ended(outcome)


def _task(name: str, **options: Any) -> Any:
    return app.task(
        perform,
        base=LockedTask,
        bind=True,
        shared=False,
        name=name,
        Request=Acknowledged,
        lock_key="{key}",
        lock_ttl=TTL_S,
        lock_on_conflict="retry",
        lock_retry_delay=(0.05, 0.5),
        acks_late=True,
        reject_on_worker_lost=True,
        autoretry_for=(LockLost, Refused),
        max_retries=None,
        default_retry_delay=0.1,
        **options,
    )


#: Stops when its lock is lost.
careful = _task("chaos.careful", lock_wait=0.3)
#: Goes on: only the fencing token keeps it from spoiling the work of the next holder.
stubborn = _task("chaos.stubborn", lock_on_lost="continue")

gaps.take_at_once()
gaps.keep_successes()
if _without:
    wrong.DOUBLES[_without]()
