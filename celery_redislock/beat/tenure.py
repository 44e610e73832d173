"""Tenure: the time in which one beat leads: what was sent, and the right to claim what comes next.

The leader's lease alone would not keep two beats from sending the same due time: a leader may lose it between
its look at the lease and the broker. So each due time is claimed in Redis first, where only the token of
the leader can claim, and each due time can be claimed once.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import NamedTuple
from uuid import uuid4

from ..engine import RedisLock
from ..errors import StoreUnavailable
from .clock import ServerClock, from_ms, to_ms
from .ledger import Ledger, Sent, Verdict

logger = logging.getLogger(__name__)

#: When to claim again after a claim that was refused, but not because it came too early, seconds.
RETRY_S = 1.0


class Claim(NamedTuple):
    """What came of a claim.

    Attributes:
        verdict: Redis's; None: Redis did not answer, or was not asked.
        delay_s: When to claim again, seconds; None: the due time is this beat's to send.
    """

    verdict: Verdict | None
    delay_s: float | None


class Tenure:
    """The time in which one beat leads.

    Args:
        lock: Held by this beat.
        ledger: Of the same group of beats.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """

    def __init__(self, lock: RedisLock, ledger: Ledger) -> None:
        self._lock = lock
        self._ledger = ledger
        self._unanswered: dict[str, tuple[int, str]] = {}
        self._is_redis_away = False
        self.sent, now_ms = ledger.read()
        self.clock = ServerClock(now_ms)

    def leads(self) -> bool:
        """Whether the lease still runs, by this machine's count."""
        return self._lock.remaining > 0

    def now(self) -> datetime:
        """Return the server's time."""
        return from_ms(self.clock.now_ms)

    def note_seen(self, entry: str, at: datetime) -> None:
        """Record since when an entry waits for its first due time; the next leader reads it too.

        Args:
            entry: Its name.
            at: When it was seen first.
        """
        self.sent[entry] = Sent(0, to_ms(at))
        if self._is_redis_away:
            return
        try:
            self._ledger.note_seen(entry, to_ms(at))
        except StoreUnavailable as error:
            self._report_outage(error)

    def claim(self, entry: str, due: datetime) -> Claim:
        """Claim a due time of an entry.

        Args:
            entry: Its name.
            due: The due time.
        """
        lock_token, due_ms = self._lock.token, to_ms(due)
        if lock_token is None:
            return Claim(None, RETRY_S)
        claim_token = self._token_of_claim(entry, due_ms)
        try:
            answer = self._ledger.claim(lock_token, entry, due_ms, claim_token)
        except StoreUnavailable as error:
            self._report_outage(error)
            return Claim(None, RETRY_S)
        if answer.verdict is not Verdict.NOT_YET:
            # After NOT_YET the token is kept: a late copy of this claim may still be granted, and only a
            # claim with the same token is then granted as well.
            del self._unanswered[entry]
        self._is_redis_away = False
        self.clock.set(answer.now_ms)
        if answer.sent is not None:
            self.sent[entry] = answer.sent
        if answer.verdict is Verdict.CLAIMED:
            return Claim(answer.verdict, None)
        return Claim(answer.verdict, self._retry_delay(entry, due_ms, answer.verdict))

    def _token_of_claim(self, entry: str, due_ms: int) -> str:
        """Return the token of a claim: that of the last claim if it got no answer and was the same."""
        last = self._unanswered.get(entry)
        if last is None or last[0] != due_ms:
            last = self._unanswered[entry] = (due_ms, uuid4().hex)
        return last[1]

    def _retry_delay(self, entry: str, due_ms: int, verdict: Verdict) -> float:
        """Return when to claim again what was refused, seconds."""
        if verdict is Verdict.NOT_YET:
            return max((due_ms - self.clock.now_ms) / 1000, 0.001)
        if verdict is Verdict.NOT_LEADING:
            logger.warning("beat: %s is not sent: another beat is the leader", entry)
            self._notice_loss()
        return RETRY_S

    def _notice_loss(self) -> None:
        """Renew the lease, so that the lock object notices that it is lost."""
        try:
            self._lock.renew()
        except StoreUnavailable as error:
            self._report_outage(error)

    def _report_outage(self, error: StoreUnavailable) -> None:
        """Log an outage once, at its first error."""
        if not self._is_redis_away:
            logger.warning("beat: nothing is sent: %s", error)
        self._is_redis_away = True
