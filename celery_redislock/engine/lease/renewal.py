"""Renewal: the threads of a client that renew leases in time and report the lost ones.

One thread and one connection for each client and process, started with the first lease and gone
some seconds after the last. Each third of a ttl all leases that are due within the next sixth go
out in one pipeline, so that leases taken at different times soon share their round trips.
A client whose Redis hangs blocks only its own thread. So does a lease that is short: those of less
than twelve seconds have a thread for each pace, which waits for Redis as long as that pace allows.

A user's thread leaves its lease here and takes it away in single steps, see ``threads.py``. Most leases are
given back before they are due: what is to be done with one is worked out by the thread, when it looks.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeAlias
from weakref import ReferenceType, ref

import redis
from redis.exceptions import NoScriptError

from ...events import Renewed, tell
from ..protocol.exclusive import REFUSED
from ..protocol.script import Script
from ..protocol.wire import Command
from ..threads import Bell, begin
from ..transport.redis_errors import tell_failed
from ..transport.store import ATTEMPT_S, CALL_S, Exchange, Store
from .lease import Lease, now
from .loss import TAKEN, Loss, could_not_be_renewed, ended, refused
from .watch import LEAST_PAUSE_S, Renewable, Watch, Way

logger = logging.getLogger(__name__)

#: A thread without leases stays for this long, seconds: tasks come one after the other.
IDLE_S = 5.0
#: Renewals in one pipeline: the server does nothing else while it runs one.
PIPELINE = 500
#: Later than this behind what it was to do, a thread is given up, seconds.
LATE_S = 2 * ATTEMPT_S

#: What makes a `Watch`.
_Asked: TypeAlias = tuple[ReferenceType[Renewable], str, Any, Way, float]


class Renewal:
    """The leases of one client and pace that are renewed or watched in this process.

    Args:
        store: Their Redis.
        pace_s: How long it has for the answer to a renewal, seconds.
    """

    def __init__(self, store: Store, pace_s: float = ATTEMPT_S) -> None:
        # Weakly: this renewal is kept for as long as its store lives, which must not be for ever.
        self._store = ref(store)
        self._pace_s = pace_s
        self.begin_afresh()

    def begin_afresh(self) -> None:
        """Know of no lease. So begins the child of a fork: thread and leases stay with the parent."""
        self._connection: Exchange | None = None
        #: What `watch` was given, by token: whatever is not here is not renewed.
        self._watches: dict[str, _Asked] = {}
        #: What the thread knows of them.
        self._known: dict[str, tuple[_Asked, Watch]] = {}
        self._bell = Bell()
        #: Held by the thread that renews for as long as it does.
        self._runs = threading.Lock()
        #: Whether one has been started that has not begun.
        self._is_coming = False
        #: When that thread looks next; infinite while it looks: a watch that comes then rings.
        self._wakes_at = math.inf
        #: When it should have been heard of again.
        self._back_by = math.inf

    def watch(self, lock: Renewable, token: str, keys: Any, way: Way, sent_at: float) -> bool:
        """Renew a lease from now on, or only notice when it ends.

        Args:
            lock: Who is told.
            token: Of the lease; watched until `forget`, until it is lost, or until the lock is dropped.
            keys: From which `way` has the keys that its script declares.
            way: How.
            sent_at: When the lease was asked for.

        Returns:
            False when there is no thread to do it, and none can be started.
        """
        due = sent_at + way.first_s
        self._watches[token] = (ref(lock), token, keys, way, due)
        if self._back_by < sent_at:
            self._give_up_the_thread()
        if not (self._runs.locked() or self._is_coming or self._starts()):
            self._watches.pop(token, None)
            return False
        # Looked at after it was added: the thread has seen it, or is rung.
        if due < self._wakes_at:
            self._bell.ring()
        return True

    def renewed(self) -> list[Watch]:
        """Return the leases that are renewed, without those that are only watched."""
        watches = [Watch(*asked) for asked in list(self._watches.values())]
        return [watch for watch in watches if watch.way.verb is not None and watch.lease() is not None]

    def forget(self, token: str) -> None:
        """Stop renewing; a renewal that is under way will neither report a loss nor bring it back."""
        self._watches.pop(token, None)

    def _starts(self) -> bool:
        """Start a thread; return whether there is one."""
        try:
            # First: the thread may have begun, and taken it back, before `begin` returns.
            self._is_coming, self._back_by = True, now() + LATE_S
            if begin(self._run, "redislock-renewal"):
                return True
        except BaseException:
            self._is_coming, self._back_by = False, math.inf
            raise
        self._is_coming, self._back_by = False, math.inf
        return self._runs.locked()

    def _give_up_the_thread(self) -> None:
        """Let another take the place of a thread that hangs, in whatever it was interrupted by."""
        logger.error(
            "the thread that renews locks is %.1f s late: a new one is started", now() - self._back_by
        )
        self._back_by, self._connection = math.inf, None
        self._bell, self._runs, self._is_coming = Bell(), threading.Lock(), False

    def _run(self) -> None:
        runs = self._runs
        is_mine, self._is_coming = runs.acquire(blocking=False), False
        while is_mine:
            try:
                while runs is self._runs and (batch := self._next_batch()):
                    self._renew_or_postpone(batch)
            except BaseException:
                logger.exception("the thread that renews locks has stopped: a new one is started")
                runs.release()
                begin(self._run, "redislock-renewal")
                return
            runs.release()
            # Someone may have come just before that; or another thread has been started in place of this one.
            is_mine = bool(self._watches) and runs is self._runs and runs.acquire(blocking=False)

    def _renew_or_postpone(self, batch: list[Watch]) -> None:
        try:
            self._serve(batch)
        except Exception:
            logger.exception("could not renew locks; retrying until their leases end")
            self._postpone(batch)

    def _next_batch(self) -> list[Watch]:
        """Sleep until leases are due and return them; nothing when there have been none for a while."""
        idle_until = now() + IDLE_S
        while True:
            self._wakes_at = math.inf
            watches = self._living()
            if watches:
                idle_until = now() + IDLE_S
            wakes_at = min((watch.due for watch in watches), default=idle_until)
            if self._connection is None and self._pace_s and watches:
                wakes_at = self._open_ahead(watches, wakes_at)
            pause_s = wakes_at - now()
            if pause_s <= 0:
                break
            self._back_by = wakes_at + LATE_S
            self._wakes_at = wakes_at
            self._bell.wait(pause_s)
        self._back_by = math.inf
        if not watches:
            self._hang_up()
        return [watch for watch in watches if watch.is_due_at(now())]

    def _open_ahead(self, watches: list[Watch], due: float) -> float:
        """Open the connection some time before it is needed; return when, or when it is needed."""
        opens_at = due - 2 * self._pace_s
        if now() < opens_at:
            return opens_at
        self._back_by = now() + 2 * CALL_S + LATE_S
        with suppress(redis.RedisError, OSError):  # the renewal says so, if it still is away
            commands = [verb.command(w.keys, (w.token, 0)) for w in watches if (verb := w.way.verb)]
            self._open(commands, min(watch.remaining_at(now()) for watch in watches))
        return due

    def _living(self) -> list[Watch]:
        """Return the leases that are held still, and forget those of locks that were dropped."""
        known = self._known
        self._known = {
            token: known[token] if token in known and known[token][0] is asked else (asked, Watch(*asked))
            for token, asked in list(self._watches.items())
        }
        watches = [watch for _, watch in self._known.values()]
        for watch in watches:
            if watch.lease() is None:
                self._watches.pop(watch.token, None)
        return [watch for watch in watches if watch.token in self._watches]

    def _serve(self, batch: list[Watch]) -> None:
        for first in range(0, len(batch), PIPELINE):
            watches = [w for w in batch[first : first + PIPELINE] if w.wants_renewal_at(now())]
            for group in {watch.way.group for watch in watches}:
                self._renew([watch for watch in watches if watch.way.group == group], *group)
        for watch in batch:
            lease = watch.lease()
            if lease is None or watch.token not in self._watches:
                continue
            if lease.remaining(now()) <= 0:
                self._end(watch, lease)
            elif not watch.ttl_ms_at(now()):
                # Renewed by somebody else meanwhile.
                watch.schedule(lease.valid_until, failure=watch.failure)

    def _renew(self, watches: list[Watch], acks: int, verb: Script | None) -> None:
        if verb is None:
            return
        self._back_by = now() + 2 * CALL_S + LATE_S
        sent_at, ttls_ms, commands = self._questions(watches, verb)
        # Not beyond the end of a lease: its holder is told of the loss before another can have the lock.
        ends_at = sent_at + min(watch.remaining_at(sent_at) for watch in watches)
        try:
            connection = self._open(commands, ends_at - sent_at)
            # What it took to open is not counted: neither against the lease, nor against the answer.
            sent_at, ttls_ms, commands = self._questions(watches, verb)
            replies = self._exchange(connection, commands, ends_at - sent_at, acks, verb)
        except (redis.RedisError, OSError) as error:
            logger.warning("could not renew %d lock(s): %s", len(watches), error)
            replies = [error] * len(watches)
        # One error may stand for all.
        for failure in {id(reply): reply for reply in replies if isinstance(reply, Exception)}.values():
            tell_failed(verb.name, failure)
        for watch, ttl_ms, reply in zip(watches, ttls_ms, replies, strict=True):
            self._take_note(watch, sent_at, ttl_ms, reply)

    def _questions(self, watches: list[Watch], verb: Script) -> tuple[float, list[int], list[Command]]:
        """Return the time, and for each lease the ttl that is asked for now, and how."""
        at = now()
        ttls_ms = [watch.ttl_ms_at(at) for watch in watches]
        asked = zip(watches, ttls_ms, strict=True)
        return at, ttls_ms, [verb.command(watch.keys, (watch.token, ttl_ms)) for watch, ttl_ms in asked]

    def _open(self, commands: Sequence[Command], remaining_s: float) -> Exchange:
        """Open the connection if it is not; what that takes is nobody's time for an answer."""
        if self._connection is None:
            store = self._store()
            if store is None:
                raise redis.ConnectionError("the locks and their client no longer exist")
            self._connection = store.connection(self._pace_s)
        self._connection.open(commands, max(min(CALL_S, remaining_s), LEAST_PAUSE_S))
        return self._connection

    def _exchange(
        self, connection: Exchange, commands: Sequence[Command], remaining_s: float, acks: int, verb: Script
    ) -> list[Any]:
        within = max(min(self._pace_s, remaining_s), LEAST_PAUSE_S)
        try:
            replies = connection.exchange(commands, within, acks)
            if any(isinstance(reply, NoScriptError) for reply in replies):
                load = ("SCRIPT", "LOAD", verb.source)
                loaded, *replies = connection.exchange([load, *commands], within, acks)
                if isinstance(loaded, Exception):
                    replies = [loaded] * len(commands)
        except BaseException:
            self._hang_up()
            raise
        return replies

    def _take_note(self, watch: Watch, sent_at: float, ttl_ms: int, reply: Any) -> None:
        lock = watch.lock()
        if lock is None or watch.token not in self._watches:
            return
        late_s = watch.late_s_at(sent_at)
        if reply in (1, 2):
            lock.renewed(watch.token, sent_at, ttl_ms)
            if reply == 2:
                lock.report_stop_wanted(watch.token)
            watch.schedule(sent_at + watch.way.interval_s, failure="")
            tell(Renewed("renewed", late_s))
        elif reply in REFUSED:
            self._report_lost(watch, refused(TAKEN, is_forced=REFUSED[reply].is_forced))
            tell(Renewed("lost", late_s))
        else:
            reply = watch.way.explained(reply)
            if not watch.failure and isinstance(reply, redis.ResponseError):
                logger.warning("could not renew a lock; retrying until its lease ends: %s", reply)
            failure = could_not_be_renewed(reply)
            lock.renewal_failed(watch.token, failure)
            watch.schedule(now() + watch.way.pause_s, failure=failure)
            tell(Renewed("failed", late_s))

    def _end(self, watch: Watch, lease: Lease) -> None:
        """Report the loss of a lease that has ended."""
        late_s = watch.late_s_at(now())
        self._report_lost(watch, ended(lease, watch.failure))
        if watch.way.verb is not None and not lease.is_at_max_hold:
            # Nothing was asked for in time.
            tell(Renewed("lost", late_s))

    def _report_lost(self, watch: Watch, loss: Loss) -> None:
        known = self._watches.pop(watch.token, None)
        lock = watch.lock()
        if known is not None and lock is not None:
            lock.report_lost(watch.token, loss)

    def _postpone(self, batch: list[Watch]) -> None:
        for watch in batch:
            watch.schedule(now() + watch.way.pause_s, failure=watch.failure)

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def pace_of(ttl_ms: int, interval_s: float = math.inf) -> float:
    """Return how long a renewal of such a lease waits for its answer, seconds.

    Half of the interval or, since the paces are few, less, but no less than a quarter: an attempt ends,
    and another can be made, before the next is due.
    """
    return min(ATTEMPT_S, 2.0 ** math.floor(math.log2(min(ttl_ms / 3000, interval_s))) / 2)
