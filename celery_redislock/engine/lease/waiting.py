"""Waiting: one attempt to get one lock, from the first question to grant, refusal or leave.

A waiter asks (``acquire.lua``). Refused, it stands in the lock's queue and sleeps in Redis on a
mailbox of its own, until it is woken or its sleep is over, and asks again. Whoever frees the lock
hands it to the first live waiter and wakes that one::

    holder                      Redis                          waiter
      |                           |  <--- ask ------------------- |   refused, in line
      |                           |  <--- sleep (BLPOP) --------- |
      | ---- release -----------> |  lock := waiter's, for 1 s    |
      |                           |  ---- wake -----------------> |
      |                           |  <--- ask ------------------- |   granted, fencing token

Those of one process sleep on one connection (``mailroom.py``).
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from weakref import WeakSet

import redis

from ...errors import StoreUnavailable
from ...holder import Holder
from ..protocol.exclusive import Busy, Granted
from ..transport.redis_errors import is_refusal
from ..transport.store import CALL_S, LEAST_ATTEMPT_S, Store
from .lease import now
from .mailroom import Mailroom
from .per_client import mailroom_with
from .verbs import LockVerbs

logger = logging.getLogger(__name__)

#: The longest sleep of a waiter, seconds: with a second for the way back it stays within `CALL_S`.
PATIENCE_S = 4.0
#: The waiters of one dead holder do not all ask in the same instant; seconds.
JITTER_S = 0.02
#: To leave while Redis is away, seconds: where a connection is open, that is enough.
LEAVING_S = 0.03
#: Pauses while Redis is away, seconds: the first, and the longest that it grows to.
AWAY_FIRST_S, AWAY_LONGEST_S = 0.05, 0.5
#: Where Redis answers and yet a sleep fails each time, a waiter asks no more often than this, seconds; and
#: after so many failures in a row it says so.
SLEEPLESS_S, SLEEPLESS_TIMES = 1.0, 5
#: A sleeper waits this long for Redis to wake it at the end of its sleep, seconds. A server without
#: other work looks at its clock ten times a second: where the end matters we do not wait for that.
LATE_S, PUNCTUAL_S = 1.0, 0.01


class Waiter:
    """One attempt to get one lock, with a token of its own.

    Args:
        verbs: Of the lock.
        token: That of this attempt.
        ttl_ms: Length of the lease that is asked for, milliseconds.
        metadata: What a holder says of itself.
        ticket: As `RedisLock` takes it.
        tell: Called with the holder when it is refused first, and so begins to wait.
    """

    def __init__(
        self,
        verbs: LockVerbs,
        token: str,
        ttl_ms: int,
        metadata: str,
        ticket: str = "",
        tell: Callable[[Holder], object] | None = None,
    ) -> None:
        self._verbs = verbs
        self._token = token
        self._ttl_ms = ttl_ms
        self._metadata = metadata
        self._ticket = ticket
        self._tell = tell
        self._mailbox = verbs.keys.mailbox(token)
        self._room: Mailroom | None = None
        #: Whether it was refused at least once.
        self.was_busy = False

    def ask(self, patience_s: float = 0.0, within: float = CALL_S) -> Granted | Busy:
        """Ask for the lock once.

        Args:
            patience_s: How long the caller would sleep if refused, seconds. 0: it does not wait (any
                more), and leaves the queue if it stood there.
            within: Seconds that Redis has for the answer.

        Raises:
            StoreUnavailable: Redis did not answer; whether the lock was granted is unknown.
        """
        patience_ms = int(patience_s * 1000)
        return self._verbs.acquire(
            self._token, self._ttl_ms, patience_ms, self._metadata, within, self._ticket
        )

    def wait(self, timeout_s: float | None, outage_s: float) -> Granted | Busy:
        """Wait in line for the lock.

        A wait that fails gives up its place in the queue. One that is interrupted does not: see `leave`.

        Args:
            timeout_s: Seconds; None waits without end.
            outage_s: Without a timeout, how long Redis may be away, seconds.

        Raises:
            StoreUnavailable: Redis was away when the timeout ended, or for `outage_s` seconds.
        """
        deadline = None if timeout_s is None else now() + timeout_s
        try:
            try:
                return self._wait_until(deadline, outage_s)
            finally:
                self._leave_room()
        except StoreUnavailable:
            leave(self._verbs, self._token, LEAVING_S)
            raise
        except BaseException:
            # Once more: it may be what was interrupted.
            self._leave_room()
            raise

    def _wait_until(self, deadline: float | None, outage_s: float) -> Granted | Busy:
        outage, sleepless = _Outage(outage_s if deadline is None else None), _Sleepless(self._verbs)
        way_s = 0.0
        while True:
            asked_at = now()
            left = CALL_S if deadline is None else deadline - asked_at - way_s
            try:
                within = max(0.0, left) + way_s + LEAST_ATTEMPT_S
                answer = self.ask(max(0.0, min(PATIENCE_S, left)), within)
            except StoreUnavailable as error:
                left = CALL_S if deadline is None else deadline - now()
                if left <= 0 or outage.is_too_long():
                    raise
                time.sleep(min(outage.pause(error), left))
                continue
            if isinstance(answer, Granted):
                return answer
            self._refused(answer)
            if left <= 0:
                return outage.checked(answer)
            outage.ended()
            way_s = self._way_s(now() - asked_at)
            left = CALL_S if deadline is None else max(deadline - now() - way_s, 0)
            self._sleep_somehow(answer, left, sleepless)

    def _refused(self, busy: Busy) -> None:
        if not self.was_busy and self._tell is not None:
            self._tell(busy.holder)
        self.was_busy = True

    def _way_s(self, last_s: float) -> float:
        """Return how long before the end of a timeout the last question is asked, over a long way."""
        round_trip_s = min(self._verbs.store.round_trip_s, last_s)
        return max(0.0, 1.5 * round_trip_s - LEAST_ATTEMPT_S)

    def _sleep_somehow(self, busy: Busy, left: float, sleepless: _Sleepless) -> None:
        try:
            self._sleep(busy, left)
            sleepless.ended()
        except StoreUnavailable as error:
            # Redis has just answered: it is not away.
            if is_refusal(error.__cause__):
                raise
            time.sleep(max(0.0, min(sleepless.pause(error), left)))

    def _leave_room(self) -> None:
        if self._room is not None:
            self._room.leave(self._mailbox)

    def _sleep(self, busy: Busy, left: float) -> None:
        sleep_s = busy.sleep_s + random.uniform(0, JITTER_S)  # noqa: S311
        until_the_end = busy.holder.lease_left == busy.sleep_s or left <= sleep_s
        lateness_s = PUNCTUAL_S if until_the_end else LATE_S
        if self._room is None:
            self._room = mailroom_with(self._verbs, self._mailbox)
        self._room.sleep(self._mailbox, min(sleep_s, left), lateness_s)


def leave(verbs: LockVerbs, token: str, within: float = 1.0) -> None:
    """Give up the place in line, or the lock if it came meanwhile; never raises.

    Where Redis cannot be told, the queue forgets the waiter by itself within seconds, and a
    lock that was granted unseen ends with its lease.
    """
    try:
        verbs.leave(token, within=within)
    except StoreUnavailable as error:
        logger.debug("could not leave the queue: %s", error)


class _Sleepless:
    """How often in a row Redis has answered one waiter, and its sleep has failed."""

    def __init__(self, verbs: LockVerbs) -> None:
        self._verbs = verbs
        self._failures = 0

    def ended(self) -> None:
        self._failures = 0

    def pause(self, error: StoreUnavailable) -> float:
        self._failures += 1
        store = self._verbs.store
        if self._failures == SLEEPLESS_TIMES and store not in _sleepless:
            _sleepless.add(store)
            logger.warning("waiting locks ask once a second, because they cannot be woken: %s", error)
        return float(min(AWAY_FIRST_S * 2**self._failures, SLEEPLESS_S))


#: Stores of which it was said.
_sleepless: WeakSet[Store] = WeakSet()


class _Outage:
    """How long Redis has been away from one waiter."""

    def __init__(self, longest_s: float | None) -> None:
        self._longest_s = longest_s
        self.ended()

    def ended(self) -> None:
        self._since: float | None = None
        self._refusal: StoreUnavailable | None = None
        self._pause_s = AWAY_FIRST_S

    def is_too_long(self) -> bool:
        if self._since is None:
            self._since = now()
        return self._longest_s is not None and now() - self._since >= self._longest_s

    def checked(self, busy: Busy) -> Busy:
        """Return the last answer to a waiter; raise what kept it out of the line, if something did."""
        if self._refusal is not None:
            raise self._refusal
        return busy

    def pause(self, error: StoreUnavailable) -> float:
        self._refusal = error if isinstance(error.__cause__, redis.ResponseError) else None
        pause_s = self._pause_s
        self._pause_s = min(2 * pause_s, AWAY_LONGEST_S)
        return random.uniform(pause_s / 2, pause_s)  # noqa: S311
