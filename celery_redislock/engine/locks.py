"""RedisLocks: several locks of one Redis that are taken all or not at all, and lost together.

They are taken one after another in the order of their names, each waited for while the earlier ones are
held. Everybody has the same order, so nobody can hold what another waits for while he waits for what that
one holds: there is no deadlock, in a cluster neither.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType

from ..durations import Duration, to_ms
from ..errors import ConfigurationError, LockBusy, LockLost, StoreUnavailable
from .lease.holding import chain_loss
from .lease.lease import now
from .lock import ONCE_MORE_S, RedisLock
from .protocol import exclusive
from .transport.clients import store_of
from .transport.store import CALL_S, LEAST_ATTEMPT_S

logger = logging.getLogger(__name__)

#: For how long it is remembered what was done, seconds.
REMEMBERED_S = exclusive.REMEMBERED_MS / 1000
#: Less than this share of a lease is left to a lock that others were waited for: it begins a full one.
FULL_SHARE = 0.9


def new_token(_: str) -> str:
    """Return a token for a lock."""
    return os.urandom(16).hex()


class RedisLocks:
    """Several locks that are taken together: all of them, or none.

    Use it as a context manager, or call `acquire` and `release`::

        accounts = [RedisLock(client, f"account:{number}", renew=True) for number in (debtor, creditor)]
        with RedisLocks(accounts, wait=5) as both:
            transfer(debtor, creditor, both.fencing_tokens)

    The order in which the locks are given does not matter. A name that is given twice counts once, as the
    stricter of its kinds. If one lock is lost, all count as lost, and `loss` says which it was. As of a
    `RedisLock`, one object is one owner, and threads may share it.

    Args:
        locks: Locks of one client that nobody has taken yet. Their own `wait` does not count.
        wait: How long ``with`` waits for all of them together. None waits without end, 0 asks once for each.

    Attributes:
        locks: The locks, in the order in which they are taken.
        names: Their names, in this order.

    Raises:
        ConfigurationError: An argument is wrong, there is no lock, one is held already, or they do not have
            one client.
    """

    def __init__(self, locks: Iterable[RedisLock], wait: Duration | None = None) -> None:
        self._wait_s = _seconds(wait, "wait")
        self.locks = in_order(locks)
        self.names = tuple(lock.lock_name for lock in self.locks)

    def __repr__(self) -> str:
        state = "lost" if self.lost else "held" if self.remaining else "not held"
        return f"<RedisLocks {', '.join(map(repr, self.names))} {state}>"

    @property
    def fencing_tokens(self) -> dict[str, int]:
        """The number of each grant by the lock's name; empty unless all are held."""
        numbers = {lock.lock_name: lock.fencing_token for lock in self.locks}
        held = {name: number for name, number in numbers.items() if number is not None}
        return held if len(held) == len(numbers) else {}

    @property
    def slots(self) -> dict[str, int | None]:
        """The place of each lock by its name, None where it has no limit; empty unless all are held."""
        return {lock.lock_name: lock.slot for lock in self.locks} if self.remaining else {}

    @property
    def remaining(self) -> float:
        """For how many seconds all leases are still valid, or 0.0 while not all locks are held."""
        return min(lock.remaining for lock in self.locks)

    @property
    def lost(self) -> bool:
        """Whether one of the locks was lost before this object released it."""
        return self.lost_lock is not None

    @property
    def lost_lock(self) -> RedisLock | None:
        """The first of the locks that was lost, or None."""
        return next((lock for lock in self.locks if lock.lost), None)

    @property
    def loss(self) -> str | None:
        """Which lock was lost, and why, or None if none was."""
        lock = self.lost_lock
        return None if lock is None else f"lock {lock.lock_name!r}: {lock.loss}"

    def ensure_held(self) -> None:
        """Do nothing while all locks are held, else raise.

        Raises:
            LockLost: One was lost, or is not held. It has the name of that one.
        """
        for lock in self.locks:
            lock.ensure_held()

    def ensure_locked(self) -> None:
        """Do nothing while all locks are held, else raise, as `ensure_held` does.

        In the body of a task it also raises where the body runs without a lock, as in a direct call.

        Raises:
            LockLost: One was lost, or is not held. It has the name of that one.
        """
        self.ensure_held()

    def acquire(self, blocking: bool = False, timeout: Duration | None = None) -> bool:
        """Take all locks, or none.

        Args:
            blocking: Wait in the line of each lock while it is busy. The earlier ones are held, and renewed,
                meanwhile.
            timeout: How long to wait for all of them together. None waits without end, 0 asks once for each.

        Returns:
            True if this object now holds all locks, False if one is busy: then it holds none.

        Raises:
            StoreUnavailable: Redis could not be reached. It has the name of the lock that was asked for.
            LockLost: A lock was lost while another was waited for, or could not be renewed.
            ConfigurationError: The timeout is not a duration.
        """
        tokens: dict[str, str] = {}
        try:
            return self._attempt(tokens, blocking, timeout) is None
        except BaseException:
            self._give_back(tokens)
            raise

    def attempt(
        self,
        *,
        blocking: bool = False,
        timeout: Duration | None = None,
        token_of: Callable[[str], str] = new_token,
    ) -> LockBusy | None:
        """Take all locks, or none, as `acquire` does, and say which one is busy if that fails.

        Args:
            blocking, timeout: As in `acquire`.
            token_of: A lock's name -> 32 hexadecimal characters that nobody uses twice.
        """
        tokens: dict[str, str] = {}
        try:
            return self._attempt(tokens, blocking, timeout, token_of)
        except BaseException:
            self._give_back(tokens)
            raise

    def release(
        self,
        *,
        done: str = "",
        remember: Duration = REMEMBERED_S,
        unused: bool = False,
    ) -> bool:
        """Release all locks that this object still holds.

        Args:
            done, remember, unused: As `RedisLock.release` takes them, for each.

        Returns:
            True if all were still held. False if one was not.

        Raises:
            StoreUnavailable: Redis could not be reached for one. All others were released if that was
                possible. Call `release` again, or let the lease end: it is not renewed any more.
        """
        try:
            return self._release(done, remember, unused, CALL_S)
        except StoreUnavailable:
            raise
        except BaseException:
            # Interrupted: a caller that is interrupted seldom releases again.
            self._release_once_more(done, remember, unused)
            raise

    def renew(self) -> bool:
        """Start a full lease of each lock from now, while all are held.

        Returns:
            False if one is not held any more, or its `max_hold` is over.

        Raises:
            StoreUnavailable: Redis could not be reached. The leases go on as they were.
        """
        return all(lock.renew() for lock in self.locks)

    def owned(self) -> bool:
        """Ask Redis whether this object holds all locks."""
        return all(lock.owned() for lock in self.locks)

    def __enter__(self) -> RedisLocks:
        """Take all locks. Wait for them as long as `wait` says.

        Raises:
            LockBusy: One is still busy. It has the name of that one.
            StoreUnavailable: Redis could not be reached.
            LockLost: A lock was lost while another was waited for.
        """
        tokens: dict[str, str] = {}
        try:
            return self._entered(tokens)
        except BaseException:
            self._give_back(tokens)
            raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release all locks.

        Raises:
            LockLost: One was lost. If the body raised an error, that is raised, with the loss as its context.
        """
        try:
            self.release()
        except StoreUnavailable as error:
            logger.warning("%s; the lock is free when its lease ends", error)
        except BaseException:
            self._release_once_more()
            raise
        lock = self.lost_lock
        if lock is None:
            return
        lost = LockLost(lock.lock_name, lock.loss or "")
        if exc is None:
            raise lost
        chain_loss(exc, lost)

    def _entered(self, tokens: dict[str, str]) -> RedisLocks:
        busy = self._attempt(tokens, True, self._wait_s)
        if busy is not None:
            raise busy
        return self

    def _attempt(
        self,
        tokens: dict[str, str],
        blocking: bool,
        timeout: Duration | None,
        token_of: Callable[[str], str] = new_token,
    ) -> LockBusy | None:
        """Take all locks, or none.

        Args:
            tokens: Has afterwards the token with which each was asked for.
            blocking, timeout, token_of: As in `attempt`.
        """
        timeout_s = _seconds(timeout, "timeout")
        deadline = math.inf if timeout_s is None else now() + timeout_s
        kept: list[Callable[[], object]] = []
        try:
            for lock in self.locks:
                token = tokens[lock.lock_name] = token_of(lock.lock_name)
                left = None if deadline == math.inf else max(0.0, deadline - now())
                holder = lock.attempt(blocking=blocking, timeout=left, token=token)
                if holder is not None:
                    self._give_back(tokens)
                    return LockBusy(lock.lock_name, holder, holder.lease_left)
                if blocking:
                    kept.append(lock.keep())
        finally:
            for end in kept:
                end()
        for lock in self.locks:
            _ensure_it_has_just_begun(lock)
        return None

    def _give_back(self, tokens: dict[str, str]) -> None:
        """Release what was taken with these tokens; never raises."""
        until = now() + ONCE_MORE_S
        for lock in reversed(self.locks):
            if lock.lock_name in tokens:
                lock.give_back(tokens[lock.lock_name], max(until - now(), LEAST_ATTEMPT_S))

    def _release(self, done: str, remember: Duration, unused: bool, within: float) -> bool:
        until, all_ours, failed = now() + within, True, None
        # The last first: who waits for the first finds the others free.
        for lock in reversed(self.locks):
            left = max(until - now(), LEAST_ATTEMPT_S)
            try:
                all_ours &= lock.release(done=done, remember=remember, unused=unused, within=left)
            except StoreUnavailable as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return all_ours

    def _release_once_more(
        self, done: str = "", remember: Duration = REMEMBERED_S, unused: bool = False
    ) -> None:
        with suppress(StoreUnavailable):
            self._release(done, remember, unused, ONCE_MORE_S)


def in_order(locks: Iterable[RedisLock]) -> tuple[RedisLock, ...]:
    """Return locks in the order in which everybody takes them, each name once.

    Raises:
        ConfigurationError: They cannot be taken together.
    """
    if isinstance(locks, str | bytes) or not isinstance(locks, Iterable):
        raise ConfigurationError(f"RedisLocks needs a list of RedisLock, not {type(locks).__name__}")
    by_name: dict[str, RedisLock] = {}
    for lock in locks:
        _check(lock)
        other = by_name.get(lock.lock_name)
        by_name[lock.lock_name] = lock if other is None else _stricter(other, lock)
    if not by_name:
        raise ConfigurationError("RedisLocks needs at least one RedisLock, and the list is empty")
    in_order = tuple(by_name[name] for name in sorted(by_name))
    for lock in in_order:
        if store_of(lock.redis_client) is not store_of(in_order[0].redis_client):
            raise ConfigurationError(
                f"locks {in_order[0].lock_name!r} and {lock.lock_name!r} have two clients: "
                "RedisLocks needs locks of one client, because it is kept in one Redis"
            )
    return in_order


def _check(lock: object) -> None:
    if not isinstance(lock, RedisLock):
        raise ConfigurationError(f"RedisLocks needs a list of RedisLock, with a {type(lock).__name__} in it")
    if lock.token is not None:
        raise ConfigurationError(
            f"lock {lock.lock_name!r} is held already: RedisLocks takes and releases all of its locks itself"
        )


def _stricter(one: RedisLock, other: RedisLock) -> RedisLock:
    """Return which of two locks of one name counts.

    Raises:
        ConfigurationError: Neither keeps what both promise.
    """
    strict, lax = sorted((one, other), key=_laxity)
    if strict.terms.min_hold_ms < lax.terms.min_hold_ms:
        raise ConfigurationError(
            f"lock {one.lock_name!r} is given twice, and the one that counts has the shorter min_hold: "
            "give both the same, or only one of them"
        )
    return strict


def _laxity(lock: RedisLock) -> tuple[bool, float, int]:
    # Without a limit it is held alone, or shared by any number.
    return lock.shared, math.inf if lock.limit is None else lock.limit, -lock.terms.min_hold_ms


def _ensure_it_has_just_begun(lock: RedisLock) -> None:
    """Give a lock a full lease that began before others were waited for: Redis then says that it is held."""
    lock.ensure_held()
    is_old = lock.remaining < FULL_SHARE * lock.terms.first_ttl_ms / 1000
    if is_old and not lock.renew():
        raise LockLost(lock.lock_name, lock.loss or "its max_hold is over")


def _seconds(value: Duration | None, label: str) -> float | None:
    return None if value is None else to_ms(value, label, minimum_ms=0) / 1000
