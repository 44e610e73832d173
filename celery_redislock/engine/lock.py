"""RedisLock: a distributed lock on one key of Redis; puts the pieces of the engine together.

The lock is the key ``lock_name`` whose value is the holder's token, set with NX and PX and deleted
only by its owner: what redis-py's own ``Lock``, redsync or a shell script do on the same key excludes
us, and we them. Around it, in keys of the same hash slot, stand the holder's record, the last fencing
token, and the queue of the waiters.

A lock that ends by itself is a *lease*: it frees what a crashed holder left behind, and for the same
reason it can end while a paused holder still believes in it. Within the bounds of clocks we know:
validity is counted from before the last request that Redis accepted, and once it is over the lock
is `lost`. What no lease can know is that the process itself stood still between its last look and its
next write: give `fencing_token` to whatever is written and let that refuse smaller ones.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import TracebackType
from weakref import ReferenceType, ref

from ..durations import Duration, to_ms
from ..errors import ConfigurationError, LockBusy, LockLost, StoreUnavailable
from ..holder import Holder
from .inspection import inspect
from .lease.confirmation import ReleaseOutcome, confirmations
from .lease.holding import Callback, Callbacks, Holding, Observer, chain_loss
from .lease.lease import Lease, now
from .lease.loss import FREE_AT_RELEASE, FREE_AT_RENEWAL, could_not_be_renewed, refused
from .lease.setup import Setup, words_of
from .lease.shared_verbs import SharedVerbs, was_done
from .lease.terms import Terms, terms_of
from .lease.verbs import LockVerbs
from .lease.waiting import Waiter, leave
from .protocol import exclusive, holder_record
from .protocol.exclusive import Busy, Granted, Refused
from .transport.clients import Client
from .transport.store import CALL_S

logger = logging.getLogger(__name__)

#: What an interrupted release takes once more, seconds.
ONCE_MORE_S = 1.0

#: Why a lock is lost that could not be renewed from the start.
NO_THREAD = "no thread could be started to renew it, so it was released"


class RedisLock:
    """A lock in Redis that one holder at a time has, among threads, processes, hosts and other programs.

    Use it as a context manager, or call `acquire` and `release`::

        with RedisLock(redis.Redis(), "csv_file_lock", expire=30, renew=True, wait=5) as lock:
            write(row, fencing_token=lock.fencing_token)

    One object is one owner: a second `acquire` on an object that holds the lock finds it busy. It is not
    reentrant. Threads may share an object. Durations are seconds or a `timedelta`.

    Args:
        redis_client: A `redis.Redis`, one of ``Sentinel.master_for``, or a `redis.RedisCluster`.
        lock_name: The Redis key, without any change.
        expire: Length of the lease. After it the lock is free, even if its holder is gone.
        renew: Renew the lease three times in each `expire`, until the release.
        wait: How long ``with`` waits for a busy lock. None waits without end, 0 asks once.
        min_hold: The lock stays busy for at least this long after it was taken.
        max_hold: The lease ends at the latest this long after it was taken. None sets no limit.
        metadata: What `holder` shows to others about this holder, text to text.
        on_lost: Called once with this lock, in a thread of its own, when a held lock is lost. A
            `weakref.WeakMethod` is called while its object lives.
        min_replicas: How many replicas must acknowledge a grant, or a renewal, before it counts.
        shared: Others that ask for it shared may hold it at the same time, and nobody alone meanwhile.
        limit: The same, but at most so many at once. Each then has a `slot`, and its place counts until
            `min_hold` after it was taken, whatever becomes of its holder: with `limit=30, min_hold=60` there
            are at most 30 grants in any 60 seconds.

    Raises:
        ConfigurationError: An argument is wrong.
    """

    # Known while it is held.
    _slot: int | None = None

    # There are three more; see also `by`. `on_stop_wanted` is called once with this lock, as `on_lost` is,
    # when its holder is asked to stop: a renewal brings that word, so the lock must `renew`; `stop_within`
    # bounds how late that is where a third of `expire` is longer. `ticket` is the token of the publish lock
    # under which the work was published: the grant ends it.

    def __init__(
        self,
        redis_client: Client,
        lock_name: str,
        expire: Duration = 10,
        *,
        renew: bool = False,
        wait: Duration | None = None,
        min_hold: Duration = 0,
        max_hold: Duration | None = None,
        metadata: Mapping[str, str] | None = None,
        on_lost: Callback | None = None,
        min_replicas: int = 0,
        on_stop_wanted: Callback | None = None,
        stop_within: Duration | None = None,
        ticket: str = "",
        shared: bool = False,
        limit: int | None = None,
    ) -> None:
        interval_s = math.inf if stop_within is None else to_ms(stop_within, "stop_within") / 1000
        terms = terms_of(expire, wait, min_hold, max_hold, min_replicas)
        is_watched = bool(renew) or on_lost is not None
        words = words_of(bool(shared), limit, terms.min_hold_ms) if shared or limit is not None else None
        if words is not None and on_stop_wanted is not None:
            raise _not_for_several(lock_name)
        setup = Setup(
            redis_client,
            terms,
            renews=bool(renew),
            is_watched=is_watched,
            interval_s=interval_s,
            words=words,
        )
        observer: ReferenceType[Observer] | None = None
        if on_lost is not None or on_stop_wanted is not None:
            self._callbacks = Callbacks(on_lost, on_stop_wanted)
            observer = ref(self._callbacks)
        self._begin(setup, lock_name, holder_record.write(metadata), observer, ticket)

    @classmethod
    def by(
        cls,
        setup: Setup,
        lock_name: str,
        metadata: str,
        observer: ReferenceType[Observer] | None = None,
        ticket: str = "",
    ) -> RedisLock:
        """Return one of many locks that are taken on the same terms in the same Redis.

        Args:
            setup: What it has in common with them.
            lock_name: The Redis key.
            metadata: As `holder_record.write` returns it.
            observer: Is told what becomes of it, while something else refers to it.
            ticket: As `RedisLock` takes it.
        """
        lock = cls.__new__(cls)
        lock._begin(setup, lock_name, metadata, observer, ticket)
        return lock

    def _begin(
        self,
        setup: Setup,
        lock_name: str,
        metadata: str,
        observer: ReferenceType[Observer] | None,
        ticket: str,
    ) -> None:
        self.redis_client, self.name, self.lock_name = setup.redis_client, lock_name, lock_name
        self._setup, self._terms, self._renewal = setup, setup.terms, setup.renewal
        self._metadata, self._ticket = metadata, ticket
        if setup.words is None:
            self._verbs = LockVerbs(setup.store, lock_name, setup.terms.min_replicas)
        elif ticket:
            raise _not_for_several(lock_name)
        else:
            self._verbs = SharedVerbs(setup.store, lock_name, setup.terms.min_replicas, setup.words)
            self._asking: dict[str, str] = {}
        self._last_done, self._has_pending, self._was_busy = "", False, False
        self._holding = Holding(lock_name, ref(self), observer)

    def __repr__(self) -> str:
        state = "lost" if self.lost else "held" if self.token else "not held"
        return f"<RedisLock {self.lock_name!r} {state}>"

    @property
    def terms(self) -> Terms:
        """On what terms it is taken."""
        return self._terms

    @property
    def renews(self) -> bool:
        """Whether it renews its lease by itself while it is held."""
        return self._setup.way.verb is not None

    @property
    def token(self) -> str | None:
        """The random mark of this holder, or None while the lock is not held."""
        lease = self._holding.valid_lease
        return lease.token if lease else None

    @property
    def fencing_token(self) -> int | None:
        """The number of this grant, larger than each one before it, or None while the lock is not held."""
        lease = self._holding.valid_lease
        return lease.fencing_token if lease else None

    @property
    def shared(self) -> bool:
        """Whether others may hold it at the same time."""
        return self._setup.words is not None

    @property
    def limit(self) -> int | None:
        """How many may hold it at the same time; None: any number if it is `shared`, else one."""
        return None if self._setup.words is None else self._setup.words.limit

    @property
    def slot(self) -> int | None:
        """The number of this object's place, the lowest that was free of 0 to `limit` - 1.

        None while the lock is not held, and where it has no limit.
        """
        return None if self._holding.valid_lease is None else self._slot

    @property
    def remaining(self) -> float:
        """For how many seconds the lease is still valid, or 0.0 while the lock is not held."""
        lease = self._holding.valid_lease
        return lease.remaining(now()) if lease else 0.0

    @property
    def lost(self) -> bool:
        """Whether the lease ended, or somebody took the lock, before this object released it."""
        return self._holding.loss is not None

    @property
    def loss(self) -> str | None:
        """Why the lock was lost, or None if it was not."""
        loss = self._holding.loss
        return None if loss is None else loss.text

    @property
    def was_busy(self) -> bool:
        """Whether somebody else had it when this object asked for it, at least once."""
        return self._was_busy

    @property
    def loss_reason(self) -> str | None:
        """Why the lock was lost, in one word, or None if it was not.

        "expired", "cut_off" (it could not be renewed), "taken", "forced" or "max_hold".
        """
        loss = self._holding.loss
        return None if loss is None else loss.reason

    def was_done(self, work: str) -> bool:
        """Whether this is what the last `release` of the lock said was done, when this object took it.

        Of a shared lock: what any release said within the time that it is remembered. Redis is asked.
        """
        if self._setup.words is not None:
            return was_done(self._verbs, work)
        return self._last_done != "" and self._last_done == exclusive.number_of_work(work)

    @property
    def has_pending(self) -> bool:
        """Whether runs were pending for it when it was taken, and then when it was released."""
        return self._has_pending

    def ensure_held(self) -> None:
        """Do nothing while the lock is held, else raise.

        Raises:
            LockLost: The lock was lost, or is not held.
        """
        if self._holding.valid_lease is None:
            raise LockLost(self.lock_name, self._holding.absence)

    def ensure_locked(self) -> None:
        """Do nothing while the lock is held, else raise, as `ensure_held` does.

        In the body of a task it also raises where the body runs without a lock, as in a direct call.

        Raises:
            LockLost: The lock was lost, or is not held.
        """
        self.ensure_held()

    def acquire(self, blocking: bool = False, timeout: Duration | None = None) -> bool:
        """Take the lock.

        A lost reply or a broken connection changes nothing: asking again gives the same answer.

        Args:
            blocking: Wait in line while the lock is busy. Who came first is served first.
            timeout: How long to wait. None waits without end, 0 asks once, as without `blocking`.

        Returns:
            True if this object now holds the lock, False if the lock is busy.

        Raises:
            StoreUnavailable: Redis could not be reached. A call that waits tries until its `timeout`, or
                for `expire` seconds without one.
            LockLost: No thread could be started that renews the lock. It was released again.
            ConfigurationError: The timeout is not a duration.
        """
        token = os.urandom(16).hex()
        try:
            return self.attempt(blocking=blocking, timeout=timeout, token=token) is None
        except BaseException:
            self.give_back(token)
            raise

    def attempt(
        self,
        *,
        blocking: bool = False,
        timeout: Duration | None = None,
        token: str | None = None,
        mark: str = "",
    ) -> Holder | None:
        """Take the lock as `acquire` does, and say who has it if that fails.

        Args:
            blocking, timeout: As in `acquire`.
            token: 32 hexadecimal characters that nobody uses twice; None: made here.
            mark: The same, where a token that was given back takes the lock once more; not `blocking`.

        Returns:
            None when this object now holds the lock, else its holder.
        """
        timeout_s = None if timeout is None else to_ms(timeout, "timeout", minimum_ms=0) / 1000
        token = token or os.urandom(16).hex()
        if self._setup.words is not None and self._asking.get("with") != token:
            return self._attempt_once(token, mark, blocking, timeout)
        terms, verbs, metadata, ticket = self._terms, self._verbs, self._metadata, self._ticket
        try:
            if confirmations.last:
                confirmations.settle(verbs)
            if blocking and timeout_s != 0:
                answer = self._wait(token, timeout_s)
            else:
                answer = verbs.acquire(token, terms.first_ttl_ms, 0, metadata, CALL_S, ticket, mark)
            if not isinstance(answer, Busy):
                self._take(token, answer)
                return None
        except StoreUnavailable:
            raise
        except BaseException:
            self._undo(token)
            raise
        self._was_busy = True
        return answer.holder

    def release(
        self,
        *,
        done: str = "",
        remember: Duration = exclusive.REMEMBERED_MS / 1000,
        unused: bool = False,
        within: float = CALL_S,
    ) -> bool:
        """Release the lock, if this object still holds it.

        Args:
            done: What was done under the lock, for the `was_done` of the next holder.
            remember: For how long that is remembered.
            unused: Nothing was done under the lock, so `min_hold` does not count.
            within: Seconds that Redis has for the answer.

        Returns:
            True if the lock is free now, or will be when `min_hold` ends. False if this object did not hold
            it any more.

        Raises:
            StoreUnavailable: Redis could not be reached. Call `release` again, or let the lease end: it is
                not renewed any more.
        """
        remembered_ms = to_ms(remember, "remember") if done else 0
        try:
            return self._release(done, remembered_ms, unused, within)
        except StoreUnavailable:
            raise
        except BaseException:
            # Interrupted: a caller that is interrupted seldom releases again.
            self._release_once_more(done, remembered_ms, unused)
            raise

    def send_release(
        self,
        tell: Callable[[ReleaseOutcome], object],
        *,
        done: str = "",
        remember: Duration = exclusive.REMEMBERED_MS / 1000,
    ) -> None:
        """Release the lock, and do not wait for the reply of Redis.

        The lock is not held from now on. The reply is read before anything else is asked on its connection,
        and within half a second. What has failed is asked again. Where it cannot be sent at once, this waits
        as `release` does.

        Args:
            tell: Called once with what `release` would have returned or raised: usually later, and in another
                thread. It must not block.
            done, remember: As in `release`.
        """
        remembered_ms = to_ms(remember, "remember")
        lease = self._holding.lease
        if lease is None:
            tell(ReleaseOutcome(released=False))
            return
        if self._renewal is not None:
            self._renewal.forget(lease.token)
        question = self._verbs.words.release(
            self._verbs.keys,
            lease.token,
            self._terms.min_hold_ms,
            done,
            remembered_ms,
            self._ticket,
            is_long=self._terms.is_long,
        )
        try:
            is_sent = confirmations.send(self._verbs, question, partial(self._confirmed, lease.token, tell))
        except BaseException:
            self._release_once_more(done, remembered_ms)
            raise
        if is_sent:
            self._holding.give_back(lease.token)
            return
        try:
            outcome = ReleaseOutcome(RedisLock.release(self, done=done, remember=remember), self._has_pending)
        except StoreUnavailable as error:
            outcome = ReleaseOutcome(released=False, error=error)
        tell(outcome)

    def renew(self) -> bool:
        """Start a full lease from now, if this object still holds the lock. Never take the lock anew.

        Returns:
            False if this object does not hold the lock any more, or `max_hold` is over.

        Raises:
            StoreUnavailable: Redis could not be reached. The lease goes on as it was.
        """
        lease = self._holding.valid_lease
        sent_at = now()
        ttl_ms = lease.renewal_ms(sent_at) if lease else 0
        if lease is None or ttl_ms == 0:
            return False
        try:
            refusal = self._verbs.renew(lease.token, ttl_ms)
        except StoreUnavailable as error:
            self._holding.renewal_failed(lease.token, could_not_be_renewed(error.reason))
            raise
        if refusal is None:
            self._holding.renewed(lease.token, sent_at, ttl_ms)
            return True
        self._holding.report_lost(lease.token, refused(FREE_AT_RENEWAL, is_forced=refusal.is_forced))
        return False

    def locked(self) -> bool:
        """Ask Redis whether the lock is held or paused: whether who wants it alone would be refused."""
        return self._verbs.exists()

    def owned(self) -> bool:
        """Ask Redis whether this object holds the lock."""
        token = self.token
        return token is not None and self._verbs.is_held_with(token)

    def holder(self) -> Holder | None:
        """Ask Redis who holds the lock, or None if nobody does. Of several: who has held it for longest."""
        seen = inspect(self._verbs.store, self.lock_name)
        return seen.holder if seen and not seen.is_paused else None

    def holders(self) -> list[Holder]:
        """Ask Redis for all who hold the lock, the longest first."""
        seen = inspect(self._verbs.store, self.lock_name)
        return list(seen.holders) if seen else []

    def as_holder(self) -> Holder:
        """Return what this object says of itself as a holder; Redis is not asked."""
        metadata = holder_record.read_metadata(self._metadata)
        return Holder(metadata, None, self.remaining, self.fencing_token, self.slot)

    def force_release(self) -> bool:
        """Take the lock from its holder, or all who share it. They go on, and can see that the lock is lost.

        The lock is then free, or belongs to the next waiter.

        Returns:
            True if the lock was taken from somebody, False if it was free.
        """
        return self._verbs.force_release()

    def keep(self) -> Callable[[], object]:
        """Renew the lease while another lock is waited for, even if this one does not renew itself.

        Returns:
            What ends that.

        Raises:
            LockLost: It is not held, or no thread could be started that renews it.
        """
        lease = self._holding.valid_lease
        if lease is None:
            raise LockLost(self.lock_name, self._holding.absence)
        if self.renews:
            return int
        setup = Setup(self.redis_client, self._terms, words=self._setup.words)
        if setup.renewal is None:
            return int
        if not setup.renewal.watch(self._holding, lease.token, self._verbs.keys, setup.way, now()):
            raise LockLost(self.lock_name, NO_THREAD)
        return partial(setup.renewal.forget, lease.token)

    def give_back(self, token: str, within: float = ONCE_MORE_S) -> None:
        """Release what was taken with this token, as if it had not been taken; never raises.

        Args:
            token: As `attempt` was given it. With another one nothing is done.
            within: Seconds that Redis has for the answer. Without one the lock is free when its lease ends.
        """
        lease = self._holding.lease
        if lease is not None and lease.token == token:
            self._undo(token, within)

    def __enter__(self) -> RedisLock:
        """Take the lock. Wait for it as long as `wait` says.

        Raises:
            LockBusy: The lock is still busy.
            StoreUnavailable: Redis could not be reached.
        """
        token = os.urandom(16).hex()
        try:
            return self._entered(token)
        except BaseException:
            self.give_back(token)
            raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release the lock.

        Raises:
            LockLost: The lock was lost. If the body raised an error, that is raised, with the loss as its
                context.
        """
        try:
            self.release()
        except StoreUnavailable as error:
            logger.warning("%s; the lock is free when its lease ends", error)
        except BaseException:
            self._release_once_more()
            raise
        loss = self.loss
        if loss is None:
            return
        lost = LockLost(self.lock_name, loss)
        if exc is None:
            raise lost
        chain_loss(exc, lost)

    def _entered(self, token: str) -> RedisLock:
        timeout = None if self._terms.wait_ms is None else self._terms.wait_ms / 1000
        busy = self.attempt(blocking=True, timeout=timeout, token=token)
        if busy is not None:
            raise LockBusy(self.lock_name, busy, busy.lease_left)
        return self

    def _wait(self, token: str, timeout_s: float | None) -> Granted | Busy:
        terms, tell = self._terms, self._holding.report_waiting
        waiter = Waiter(self._verbs, token, terms.first_ttl_ms, self._metadata, self._ticket, tell)
        answer = waiter.wait(timeout_s, terms.ttl_ms / 1000)
        self._was_busy = self._was_busy or waiter.was_busy
        return answer

    def _attempt_once(self, token: str, mark: str, blocking: bool, timeout: Duration | None) -> Holder | None:
        """Take a place, unless this object has one or is asking for one: then it is in its own way."""
        try:
            if self._asking.setdefault("with", token) != token or self._holding.valid_lease is not None:
                self._was_busy = True
                return self.as_holder()
            return self.attempt(blocking=blocking, timeout=timeout, token=token, mark=mark)
        finally:
            if self._asking.get("with") == token:
                self._asking.pop("with", None)

    def _release(self, done: str, remembered_ms: int, unused: bool, within: float) -> bool:
        lease = self._holding.lease
        if lease is None:
            return False
        if self._renewal is not None:
            self._renewal.forget(lease.token)
        min_hold_ms = 0 if unused else self._terms.min_hold_ms
        answer = self._verbs.release(
            lease.token, min_hold_ms, done, remembered_ms, self._ticket, within, is_long=self._terms.is_long
        )
        if isinstance(answer, Refused):
            self._holding.report_lost(lease.token, refused(FREE_AT_RELEASE, is_forced=answer.is_forced))
        self._has_pending = not isinstance(answer, Refused) and answer.has_pending
        self._holding.give_back(lease.token)
        return not isinstance(answer, Refused)

    def _confirmed(
        self, token: str, tell: Callable[[ReleaseOutcome], object], outcome: ReleaseOutcome
    ) -> None:
        if not outcome.released and outcome.error is None:
            loss = refused(FREE_AT_RELEASE, is_forced=outcome.is_forced)
            self._holding.report_lost_at_release(token, loss)
        tell(outcome)

    def _release_once_more(self, done: str = "", remembered_ms: int = 0, unused: bool = False) -> None:
        with suppress(StoreUnavailable):
            self._release(done, remembered_ms, unused, ONCE_MORE_S)

    def _take(self, token: str, granted: Granted) -> None:
        terms, sent_at = self._terms, granted.sent_at
        lease = Lease.granted(token, granted.fencing_token, terms.ttl_ms, sent_at, terms.max_hold_ms)
        self._last_done, self._has_pending = granted.last_done, granted.has_pending
        self._slot = granted.slot
        self._holding.take(lease)
        renewal, keys, way = self._renewal, self._verbs.keys, self._setup.way
        if renewal is not None and not renewal.watch(self._holding, token, keys, way, sent_at):
            raise LockLost(self.lock_name, NO_THREAD)

    def _undo(self, token: str, within: float = ONCE_MORE_S) -> None:
        """Give back what may have been granted to this token: the caller is not told of a grant."""
        if self._renewal is not None:
            self._renewal.forget(token)
        leave(self._verbs, token, within)
        self._holding.give_back(token)


def _not_for_several(lock_name: str) -> ConfigurationError:
    # One run publishes, and one holder is asked to stop.
    return ConfigurationError(
        f"lock {lock_name!r} is shared, or has a limit: it takes no ticket and no on_stop_wanted"
    )
