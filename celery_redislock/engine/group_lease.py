"""Group lease: one lease that several processes hold together, until the last of them has ended.

A member that is in flight waits for its turn, or runs. A member that runs renews the lease. While members
only wait, the lease lasts for the time that their batch allows. The last member to depart gives the lock
back.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from enum import IntEnum
from importlib.resources import files
from typing import Any
from weakref import ref

from ..holder import Holder
from .companion import Client, Companion, Script, now, number_of_work
from .lease.holding import Holding
from .lease.lease import Lease
from .lease.loss import FREE_AT_RELEASE, Loss, refused
from .lease.per_client import renewal_of
from .lease.renewal import Renewal, pace_of
from .lease.watch import Way
from .protocol.keys import LockKeys
from .threads import here

_SCRIPTS = files(__package__) / "scripts" / "group"
JOIN = Script.load(_SCRIPTS, "join")
STAY = Script.load(_SCRIPTS, "stay")
DEPART = Script.load(_SCRIPTS, "depart")
MEMBERS = Script.load(_SCRIPTS, "members")

logger = logging.getLogger(__name__)


class Left(IntEnum):
    """What a member that departed left behind."""

    #: The lock is not the batch's any more: it was taken by force.
    FORCED = -1
    #: The lock is not the batch's any more.
    LOST = 0
    #: Other members are in flight.
    OTHERS = 1
    #: No member is in flight: the lock was given back.
    NOBODY = 2
    #: The same, and runs are pending for the lock (`PendingRuns`).
    PENDING = 3


class Member:
    """A member of a batch, in this process. Every method may be called again after an error.

    Args:
        client: As for a `RedisLock`.
        lock_name: The Redis key.
        token: What the batch took the lock with.
        name: Letters and digits that no other member of the batch has.
        waited_as: The name that this one had while it waited; empty when it did not.
        on_lost: Called once, in a thread of its own, with why, when the lock is lost while it runs.
        min_replicas: As for a `RedisLock`.
    """

    def __init__(
        self,
        client: Client,
        lock_name: str,
        token: str,
        name: str,
        *,
        waited_as: str = "",
        on_lost: Callable[[Loss], object] | None = None,
        min_replicas: int = 0,
    ) -> None:
        self.lock_name = lock_name
        self._companion = Companion(client, lock_name)
        self._keys = self._companion.keys
        self._token, self._name, self._waited_as = token, name, waited_as
        self._on_lost, self._acks = on_lost, min_replicas
        self._holding = Holding(lock_name, ref(self), ref(self))
        self._renewal: Renewal | None = None
        self._process = here.process

    @property
    def loss(self) -> Loss | None:
        """Why the lock was lost while this member ran; None when it was not."""
        return self._holding.loss

    def wait(self, idle_ms: int, metadata: Mapping[str, str]) -> bool:
        """Be in flight and wait: the lock stays the batch's for at least `idle_ms` from now.

        Returns:
            False when the lock is not the batch's.

        Raises:
            StoreUnavailable: Redis could not be reached.
        """
        return self._join(self._waited_as or self._name, "", idle_ms, metadata, runs=False)

    def run(self, ttl_ms: int, metadata: Mapping[str, str]) -> bool:
        """Be in flight and run: the lease is renewed every third of `ttl_ms` until the departure.

        Returns:
            False when the lock is not the batch's.

        Raises:
            StoreUnavailable: Redis could not be reached.
        """
        sent_at = now()
        if not self._join(self._name, self._waited_as, ttl_ms, metadata, runs=True):
            return False
        lease = Lease.granted(self._token_of(self._name), 0, ttl_ms, sent_at, None)
        self._holding.take(lease)
        self._renewal = renewal_of(self._companion.store, pace_of(ttl_ms))
        way = Way(ttl_ms, STAY, LockKeys.stayed_by, acks=self._acks)
        if not self._renewal.watch(self._holding, lease.token, self._keys, way, sent_at):
            logger.error(
                "lock %r is not renewed while this member of its batch runs: no thread could be started",
                self.lock_name,
            )
        return True

    def step_aside(self, idle_ms: int, metadata: Mapping[str, str]) -> bool:
        """Run no more, and wait: its message comes again, or someone else has to say how it ended.

        Returns:
            False when the lock is not the batch's, or this process is not the member's.

        Raises:
            StoreUnavailable: Redis could not be reached.
        """
        if self._process is not here.process:
            return False
        self._stop_renewing()
        return self._join(self._waited_as or self._name, self._name, idle_ms, metadata, runs=False)

    def depart(self, idle_ms: int, done: str, remembered_ms: int) -> Left:
        """Be in flight no more. In the child of a fork this does nothing: the member is its parent's.

        A loss of the lock that shows only now is told to `on_lost`, if this member ran in this process.

        Args:
            idle_ms: How long the lock stays the batch's while others wait and none runs, milliseconds.
            done: The batch, as the work that was done last, when no member is in flight any more.
            remembered_ms: For how long, milliseconds.

        Raises:
            StoreUnavailable: Redis could not be reached; the lock ends with its lease.
        """
        if self._process is not here.process:
            return Left.OTHERS
        self._stop_renewing()
        k = self._keys
        keys = (k.lock, k.holder, k.waiters, k.seen, k.done, k.members, k.inflight, k.pending)
        questions = tuple(k.questions_of(one) for one in (self._token, self._name, self._waited_as) if one)
        arguments = (
            self._token_of(self._name),
            self._waited_as,
            idle_ms,
            number_of_work(done),
            remembered_ms,
        )
        left = Left(self._companion.run(DEPART, (*keys, *questions), *arguments))
        mark = self._token_of(self._name)
        self._holding.give_back(mark)
        if left <= Left.LOST:
            # No renewal was due since: nobody but Redis knows. What a renewal has told is not told again.
            loss = refused(FREE_AT_RELEASE, is_forced=left is Left.FORCED)
            self._holding.report_lost_at_release(mark, loss)
        return left

    def _join(
        self, name: str, instead_of: str, lease_ms: int, metadata: Mapping[str, str], *, runs: bool
    ) -> bool:
        text = json.dumps({**metadata, "state": "runs" if runs else "waits"}, separators=(",", ":"))
        arguments = (self._token_of(name), instead_of, lease_ms, int(runs), text)
        keys = (*self._keys.shared, *(self._keys.questions_of(one) for one in (name, instead_of) if one))
        return bool(self._companion.run(JOIN, keys, *arguments, acks=self._acks))

    def _stop_renewing(self) -> None:
        if self._renewal is not None:
            self._renewal.forget(self._token_of(self._name))

    def _token_of(self, name: str) -> str:
        return f"{self._token}:{name}"

    def log_facts(self) -> Mapping[str, Any]:
        """Return nothing: whose lease it is ``on_lost`` says."""
        return {}

    def report_waiting(self, _: Member, __: Holder) -> None:
        """A member does not wait: it has the lock of its batch."""

    def report_lost(self, _: Member) -> None:
        """Tell of the loss."""
        loss = self.loss
        if self._on_lost is not None and loss is not None:
            self._on_lost(loss)

    def report_stop_wanted(self, _: Member) -> None:
        """Nobody asks a batch to stop."""


def members_in_flight(client: Client, lock_name: str) -> list[dict[str, Any]]:
    """Return the metadata of the members in flight of the batch that holds a lock; none if it is no batch.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """
    companion = Companion(client, lock_name)
    keys = companion.keys
    members = companion.run(MEMBERS, (keys.lock, keys.members, keys.inflight))
    return [json.loads(metadata) for metadata in members]
