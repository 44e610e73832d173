"""Renewal: the thread of a client that renews leases in time and reports the lost ones.

One thread and one connection for each client and process, started with the first lease and gone
some seconds after the last. Each third of a ttl all leases that are due within the next sixth go
out in one pipeline, so that leases taken at different times soon share their round trips.
A client whose Redis hangs blocks only its own thread.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Sequence
from typing import Any, Protocol
from weakref import ReferenceType, WeakKeyDictionary, ref

import redis
from redis.exceptions import NoScriptError

from .lease import Lease, now
from .scripts import RENEW, Script
from .store import ATTEMPT_S, Exchange, Store
from .wire import Command

logger = logging.getLogger(__name__)

#: A thread without leases stays for this long, seconds: tasks come one after the other.
IDLE_S = 5.0
#: Renewals in one pipeline: the server does nothing else while it runs one.
PIPELINE = 500
#: The shortest pause before a failed renewal is tried again, seconds.
LEAST_PAUSE_S = 0.02


class Renewable(Protocol):
    """What the thread needs of a lock: `Holding` is one."""

    @property
    def lease(self) -> Lease | None:
        """The lease that is held, if one is."""

    def renewed(self, token: str, sent_at: float, ttl_ms: int) -> None:
        """Take note of an accepted renewal."""

    def report_lost(self, token: str, reason: str) -> None:
        """Take note that the lease is lost."""

    def report_asked(self, token: str) -> None:
        """Take note that the holder is asked to stop."""


class _Watch:
    """One lease under watch. The lock is referred to weakly: dropped, it is renewed no more."""

    def __init__(
        self,
        lock: Renewable,
        lease: Lease,
        keys: tuple[bytes, ...],
        *,
        renew: bool,
        acks: int,
        verb: Script,
        interval_s: float,
    ) -> None:
        #: How it is renewed: in one pipeline go those for which that is the same.
        self.way = (acks, verb)
        self.lock: ReferenceType[Renewable] = ref(lock)
        self.token = lease.token
        self.keys = keys
        self.failure = ""
        self.interval_s = min(lease.ttl_ms / 3000, interval_s)
        self.pause_s = max(self.interval_s / 4, LEAST_PAUSE_S)
        self._renew = renew
        self.due = self._due(lease, now() + self.interval_s)

    def lease(self) -> Lease | None:
        """Return the lease if it is still the one that was given to watch."""
        lock = self.lock()
        lease = None if lock is None else lock.lease
        return lease if lease is not None and lease.token == self.token else None

    def schedule(self, due: float, *, failure: str) -> None:
        """Look at this lease again at `due`, or when it ends if that is sooner or all that is left."""
        lease = self.lease()
        if lease is None:
            return
        self.failure = failure
        self.due = self._due(lease, due)

    def _due(self, lease: Lease, due: float) -> float:
        has_more = self._renew and lease.renewal_ms(due) > 0
        return min(due, lease.valid_until) if has_more else lease.valid_until

    def is_due_at(self, at: float) -> bool:
        """Whether it should be served now: also half an interval early, to share the pipeline."""
        return self.due <= at + (self.interval_s / 2 if self.ttl_ms_at(at) else 0)

    def wants_renewal_at(self, at: float) -> bool:
        """Whether there is a lease to renew, and time left to hold it for."""
        return self.remaining_at(at) > 0 and self.ttl_ms_at(at) > 0

    def remaining_at(self, at: float) -> float:
        """Return for how many seconds the lease can be believed; 0.0 when it is over."""
        lease = self.lease()
        return 0.0 if lease is None else lease.remaining(at)

    def ttl_ms_at(self, at: float) -> int:
        """Return the ttl that a renewal sent at `at` asks for, milliseconds; 0 for none."""
        lease = self.lease()
        return lease.renewal_ms(at) if lease is not None and self._renew else 0


class Renewal:
    """The leases of one client that are renewed or watched in this process."""

    def __init__(self, store: Store) -> None:
        # Weakly: this renewal is kept for as long as its store lives, which must not be for ever.
        self._store = ref(store)
        self.begin_afresh()

    def begin_afresh(self) -> None:
        """Know of no lease. So begins the child of a fork: thread and leases stay with the parent."""
        self._line: Exchange | None = None
        self._changed = threading.Condition()
        self._watches: dict[str, _Watch] = {}
        self._thread: threading.Thread | None = None
        self._wakes_at = 0.0

    def watch(
        self,
        lock: Renewable,
        lease: Lease,
        keys: tuple[bytes, ...],
        *,
        renew: bool,
        acks: int = 0,
        verb: Script = RENEW,
        interval_s: float = math.inf,
    ) -> None:
        """Renew a lease from now on, or only notice when it ends.

        Args:
            lock: Who is told.
            lease: The lease; watched until `forget`, until it is lost, or until the lock is dropped.
            keys: The keys that the renewal script declares.
            renew: False to only report the lease when it has run out.
            verb: The script; it takes the token and the ttl.
            interval_s: Renew it more often than each third of its ttl: to be asked to stop in time.
        """
        with self._changed:
            watch = self._watches[lease.token] = _Watch(
                lock, lease, keys, renew=renew, acks=acks, verb=verb, interval_s=interval_s
            )
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="redislock-renewal", daemon=True)
                self._thread.start()
            elif watch.due < self._wakes_at:
                self._changed.notify()

    def forget(self, token: str) -> None:
        """Stop renewing; a renewal that is under way will neither report a loss nor bring it back."""
        with self._changed:
            self._watches.pop(token, None)

    def _run(self) -> None:
        while batch := self._next_batch():
            try:
                self._serve(batch)
            except Exception:
                logger.exception("could not renew locks; they are tried again until they are lost")
                self._postpone(batch)

    def _next_batch(self) -> list[_Watch]:
        """Sleep until leases are due and return them; nothing when there have been none for a while."""
        with self._changed:
            idle_until = now() + IDLE_S
            while True:
                self._watches = {t: w for t, w in self._watches.items() if w.lease() is not None}
                if self._watches:
                    idle_until = now() + IDLE_S
                self._wakes_at = min((watch.due for watch in self._watches.values()), default=idle_until)
                pause_s = self._wakes_at - now()
                if pause_s <= 0:
                    break
                self._changed.wait(pause_s)
            if not self._watches:
                self._hang_up()
                self._thread = None
            return [watch for watch in self._watches.values() if watch.is_due_at(now())]

    def _serve(self, batch: list[_Watch]) -> None:
        for first in range(0, len(batch), PIPELINE):
            watches = [w for w in batch[first : first + PIPELINE] if w.wants_renewal_at(now())]
            for way in {watch.way for watch in watches}:
                self._renew([watch for watch in watches if watch.way == way], *way)
        for watch in batch:
            lease = watch.lease()
            if lease is not None and lease.remaining(now()) <= 0:
                self._report_lost(watch, watch.failure or "its lease ran out")

    def _renew(self, watches: list[_Watch], acks: int, verb: Script) -> None:
        sent_at = now()
        ttls_ms = [watch.ttl_ms_at(sent_at) for watch in watches]
        commands = [
            verb.command(watch.keys, watch.token, ttl_ms)
            for watch, ttl_ms in zip(watches, ttls_ms, strict=True)
        ]
        try:
            remaining_s = min(watch.remaining_at(sent_at) for watch in watches)
            replies = self._exchange(commands, remaining_s, acks, verb)
        except (redis.RedisError, OSError) as error:
            logger.warning("could not renew %d lock(s): %s", len(watches), error)
            replies = [error] * len(watches)
        for watch, ttl_ms, reply in zip(watches, ttls_ms, replies, strict=True):
            self._take_note(watch, sent_at, ttl_ms, reply)

    def _exchange(
        self,
        commands: Sequence[Command],
        remaining_s: float,
        acks: int,
        verb: Script = RENEW,
    ) -> list[Any]:
        # Half an interval: an attempt ends, and another can be made, before the next is due. And not
        # beyond the end of a lease: whoever loses it is told before another can have it.
        intervals_s = [watch.interval_s for watch in list(self._watches.values())]
        within = max(min([2 * ATTEMPT_S, *intervals_s, 2 * remaining_s]) / 2, LEAST_PAUSE_S)
        if self._line is None:
            store = self._store()
            if store is None:
                raise redis.ConnectionError("the locks and their client are gone")
            self._line = store.line(within)
        try:
            replies = self._line.exchange(commands, within, acks)
            if any(isinstance(reply, NoScriptError) for reply in replies):
                replies = self._line.exchange([("SCRIPT", "LOAD", verb.source), *commands], within, acks)[1:]
        except BaseException:
            self._hang_up()
            raise
        return replies

    def _take_note(self, watch: _Watch, sent_at: float, ttl_ms: int, reply: Any) -> None:
        lock = watch.lock()
        if lock is None or watch.token not in self._watches:
            return
        if reply in (1, 2):
            lock.renewed(watch.token, sent_at, ttl_ms)
            if reply == 2:
                lock.report_asked(watch.token)
            watch.schedule(sent_at + watch.interval_s, failure="")
        elif reply == 0:
            self._report_lost(watch, "its lease ran out in Redis, or the lock was taken or deleted")
        else:
            watch.schedule(now() + watch.pause_s, failure=f"it could not be renewed ({reply})")

    def _report_lost(self, watch: _Watch, reason: str) -> None:
        with self._changed:
            known = self._watches.pop(watch.token, None)
        lock = watch.lock()
        if known is not None and lock is not None:
            lock.report_lost(watch.token, reason)

    def _postpone(self, batch: list[_Watch]) -> None:
        for watch in batch:
            watch.schedule(now() + watch.pause_s, failure=watch.failure)

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()


_renewals: WeakKeyDictionary[Store, Renewal] = WeakKeyDictionary()


def renewal_of(store: Store) -> Renewal:
    """Return the renewal of a store, the only one in this process."""
    try:
        return _renewals[store]
    except KeyError:
        return _renewals.setdefault(store, Renewal(store))


def _after_fork() -> None:
    for renewal in list(_renewals.values()):
        renewal.begin_afresh()


os.register_at_fork(after_in_child=_after_fork)
