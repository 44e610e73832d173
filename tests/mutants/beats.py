"""Wrong beats: each leaves out what keeps a tick from being sent twice, or too late; the checks must tell."""

from __future__ import annotations

from datetime import datetime
from unittest import mock

from celery_redislock.beat import lead_or_stand_by as beat
from celery_redislock.beat.clock import to_ms
from celery_redislock.beat.lead_or_stand_by import LockedScheduler
from celery_redislock.beat.ledger import Sent, Verdict
from celery_redislock.beat.tenure import Claim, Tenure


class _GrantsItself(Tenure):
    def claim(self, entry: str, due: datetime) -> Claim:
        """Ask nobody."""
        self.sent[entry] = Sent(to_ms(due), self.clock.now_ms)
        return Claim(Verdict.CLAIMED, None)


class _BelievesForEver(Tenure):
    def leads(self) -> bool:
        """Do not look."""
        return True


class SendsWithoutAClaim(LockedScheduler):
    """Being the leader is enough, it thinks."""

    def _lead(self) -> None:
        with mock.patch.object(beat, "Tenure", _GrantsItself):
            super()._lead()


class SendsWithoutALook(LockedScheduler):
    """Who claimed a tick may send it whenever it likes."""

    def _lead(self) -> None:
        with mock.patch.object(beat, "Tenure", _BelievesForEver):
            super()._lead()
