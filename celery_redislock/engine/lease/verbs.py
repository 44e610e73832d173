"""Verbs: what can be asked of one lock in Redis, a round trip each; the only place that translates errors."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import redis

from ...errors import StoreUnavailable
from ...holder import Holder
from ..protocol import holder_record as holders
from ..protocol.exclusive import ACQUIRE, FORCE_RELEASE, LEAVE, RELEASE, RENEW, RING
from ..protocol.keys import keys_of
from ..protocol.script import Script
from ..protocol.wire import Argument
from ..transport.outages import REDIS_ERRORS, translated, unavailable
from ..transport.replication import NotReplicated
from ..transport.store import CALL_S, LEAST_ATTEMPT_S, Store
from .lease import now, number_of


class Granted(NamedTuple):
    """The lock is ours.

    Attributes:
        fencing_token: The number of this grant.
        sent_at: Local clock, seconds: just before the request was first sent that Redis granted.
        last_done: The work that was done last under this name; empty when nobody said.
        wanted: Runs are, or may be, wanted once the lock is free.
    """

    fencing_token: int
    sent_at: float
    last_done: str
    wanted: bool = False


class Refused(NamedTuple):
    """Someone else has the lock.

    Attributes:
        holder: Who.
        sleep_s: How long to sleep before asking again, seconds.
    """

    holder: Holder
    sleep_s: float


class Released(NamedTuple):
    """The lock was ours, and is free or will be.

    Attributes:
        wanted: Runs are, or may be, wanted of it.
    """

    wanted: bool


#: What `ring` leaves in a mailbox.
LOOK_UP = b"look"

#: What a script answers -> what it means.
_RELEASED = {0: None, 1: Released(wanted=False), 2: Released(wanted=True)}


class LockVerbs:
    """One lock in one Redis.

    Every method raises `StoreUnavailable` when Redis refuses or cannot be reached in time, and may be
    called again after that: the scripts answer a second send as they answered the first.
    """

    def __init__(self, store: Store, lock_name: str, min_replicas: int = 0) -> None:
        self.store = store
        self.min_replicas = min_replicas
        self.lock_name = lock_name
        self.keys = k = keys_of(lock_name)
        #: What `acquire`, `release` and `leave` declare each time.
        self._asked = (k.lock, k.holder, k.fence, k.waiters, k.seen, k.wanted)
        self._released = (k.lock, k.holder, k.waiters, k.seen, k.fence, k.wanted)
        self._left = (k.lock, k.holder, k.waiters, k.seen)

    def acquire(
        self,
        token: str,
        ttl_ms: int,
        patience_ms: int,
        metadata: str,
        within: float = CALL_S,
        queued: str = "",
        mark: str = "",
    ) -> Granted | Refused:
        """Ask for the lock.

        Args:
            token: 32 characters, made before the first send.
            ttl_ms: Length of the lease, milliseconds.
            patience_ms: How long the caller would sleep if refused; 0: it does not wait (any more).
            metadata: What the caller says of itself, JSON.
            within: Seconds that Redis has for the answer.
            queued: Token of the publish lock that the grant ends; or nothing.
            mark: In place of the token, where that was given back and takes the lock once more.
        """
        k, once = self.keys, self.keys.once_of(mark or token)
        keys: tuple[bytes, ...] = (*self._asked, once)
        arguments: tuple[Argument, ...] = (token, ttl_ms, patience_ms, metadata)
        if queued:
            keys = (*keys, k.queued, k.once_of(queued))
        began_at = now()
        answer = self._acquire(keys, arguments, queued, began_at, within)
        late_s = now() - began_at
        if isinstance(answer, Granted) and late_s <= ttl_ms / 2000:
            return answer
        left = min(within, CALL_S) - late_s
        if isinstance(answer, Granted):
            if left > 0:
                # Half of the lease is over, or all of it: the same question again begins it anew.
                with suppress(StoreUnavailable):
                    return self._acquire(keys, arguments, queued, now(), left) or answer
            return answer
        if answer is None:
            answer = self._acquire(keys, arguments, queued, now(), max(left, LEAST_ATTEMPT_S))
        elif patience_ms == 0 and late_s > LEAST_ATTEMPT_S:
            # It may have been sent twice: the first copy is not to take the lock when it arrives.
            with suppress(StoreUnavailable):
                self._leave(once, token, within=max(left, LEAST_ATTEMPT_S))
        if answer is None:
            raise StoreUnavailable(
                self.lock_name, "its token was given back, or the lease is shorter than the way to Redis"
            )
        return answer

    def _acquire(
        self,
        keys: tuple[bytes, ...],
        arguments: tuple[Argument, ...],
        queued: str,
        sent_at: float,
        within: float,
    ) -> Granted | Refused | None:
        """Ask once; None: what this question was granted is gone already."""
        once, token, number = keys[6], arguments[0], number_of(sent_at)
        words = (*arguments, number, queued) if queued else (*arguments, number)
        undo = partial(LEAVE.in_full, (*self._left, once), token, number)
        try:
            reply = ACQUIRE.run_with(self.store, keys, words, within, self.min_replicas, undo)
        except REDIS_ERRORS as error:
            if isinstance(error, NotReplicated):
                with suppress(StoreUnavailable):
                    self._leave(once, token, within=1.0)
            raise unavailable(self.lock_name, error) from error
        if reply[0] == 1:
            return Granted(int(reply[1]), sent_at, reply[2].decode(), bool(reply[3]))
        if reply[0] == -1:
            return None
        _, sleep_ms, left_ms, description = reply
        return Refused(holders.read(description, left_ms), sleep_ms / 1000)

    def sleep(self, mailboxes: Sequence[bytes], seconds: float, lateness_s: float) -> list[bytes] | None:
        """Sleep until there is word in one of the mailboxes, or for so many seconds.

        Args:
            mailboxes: Of all that have word the first is taken.
            seconds: How long.
            lateness_s: By how much Redis may be late.

        Returns:
            The mailbox, and the word: `LOOK_UP`, or else a wake-up. None: there was none.
        """
        # The answer has its way, too; and BLPOP takes 0 for "without end".
        asleep_s = max(seconds - self.store.round_trip_s, 0.001)
        try:
            word: list[bytes] = self.store.ask(("BLPOP", *mailboxes, f"{asleep_s:.3f}"), seconds + lateness_s)
        except redis.TimeoutError:
            return None
        except REDIS_ERRORS as error:
            raise unavailable(self.lock_name, error, "whoever waits sleeps in BLPOP: ") from error
        return word

    def ring(self, mailbox: bytes) -> None:
        """Leave word in a mailbox that is no wake-up: there are others to sleep for."""
        self._run(RING, (mailbox,))

    def leave(self, token: str, within: float) -> None:
        """Give up the place in line; a turn that came already goes on to the next."""
        self._leave(self.keys.once_of(token), token, within)

    def _leave(self, once: bytes, token: Argument, within: float) -> None:
        self._run(LEAVE, (*self._left, once), token, number_of(now()), within=within)

    def release(
        self, token: str, min_hold_ms: int, done: str, queued: str = "", within: float = CALL_S
    ) -> Released | None:
        """Give the lock back; None when it was not this token's any more.

        Args:
            token: Of the holder.
            min_hold_ms: The lock stays busy until this long after it was taken.
            done: The work that was done under the lock, for the next holder to know; or nothing.
            queued: As in `acquire`: if it had one, the publish lock of a copy of the work ends too.
            within: As in `acquire`.
        """
        keys: tuple[bytes, ...] = (*self._released, self.keys.once_of(token))
        if queued:
            keys = (*keys, self.keys.queued)
        try:
            return _RELEASED[RELEASE.run_with(self.store, keys, (token, min_hold_ms, done), within)]
        except REDIS_ERRORS as error:
            raise unavailable(self.lock_name, error) from error

    def renew(self, token: str, ttl_ms: int) -> bool:
        """Start the lease anew; False when the lock is not this token's any more."""
        return bool(self._run(RENEW, self.keys.renewed, token, ttl_ms, acks=self.min_replicas))

    def force_release(self) -> bool:
        """Take the lock from whoever has it; False when nobody has."""
        k = self.keys
        until = now() + CALL_S
        with translated(self.lock_name):
            owner = self.store.call(("GET", k.lock))
            if owner is None:
                return False
            keys = (k.lock, k.holder, k.waiters, k.seen)
            FORCE_RELEASE.run(self.store, keys, owner, within=until - now())
        return True

    def exists(self) -> bool:
        """Whether anyone holds the lock."""
        with translated(self.lock_name):
            return bool(self.store.call(("EXISTS", self.keys.lock)))

    def is_held_with(self, token: str) -> bool:
        """Whether the lock is held with this token."""
        with translated(self.lock_name):
            return bool(self.store.call(("GET", self.keys.lock)) == token.encode())

    def _run(
        self,
        script: Script,
        keys: tuple[bytes, ...],
        *arguments: Argument,
        within: float = CALL_S,
        acks: int = 0,
    ) -> Any:
        try:
            return script.run(self.store, keys, *arguments, within=within, acks=acks)
        except REDIS_ERRORS as error:
            raise unavailable(self.lock_name, error) from error
