"""Wrong locks: each breaks one rule of the engine, as others have broken it; the checks must tell."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar
from unittest import mock
from uuid import uuid4

import redis

from celery_redislock import Holder, RedisLock, StoreUnavailable
from celery_redislock.engine.lease import verbs
from celery_redislock.engine.lease.lease import now
from celery_redislock.engine.lease.waiting import Granted
from celery_redislock.engine.protocol.exclusive import ACQUIRE, RELEASE, RENEW
from celery_redislock.engine.protocol.script import Script


def _with_instead(script: Script, right: str, wrong: str) -> Script:
    """Return the script with one of its lines gone wrong."""
    assert script.source.count(right) == 1, f"the script says {right!r} no more"
    source = script.source.replace(right, wrong)
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


class IsNeverBusy(RedisLock):
    """SET without NX."""

    def attempt(self, **_: Any) -> Holder | None:
        """Take the lock."""
        token, sent_at = uuid4().hex, now()
        self.redis_client.set(self.name, token, px=10_000)
        self._take(token, Granted(1, sent_at, ""))
        return None


class ReleasesWithoutLooking(RedisLock):
    """A bare DEL."""

    def release(self) -> bool:
        """Free the lock, whoever holds it."""
        return bool(self.redis_client.delete(self.name))


class MakesATokenForEachSend(RedisLock):
    """SET NX that is sent again after a lost reply, in the name of another."""

    def attempt(self, **_: Any) -> Holder | None:
        """Meet the lock of the first send at the second."""
        for _ in range(2):
            token, sent_at = uuid4().hex, now()
            command = ("SET", self.name, token, "NX", "PX", 10_000)
            try:
                granted = self._verbs.store.ask(command, 0.25)
            except redis.RedisError:
                continue
            if granted:
                self._take(token, Granted(1, sent_at, ""))
            return None if granted else Holder()
        return Holder()


class ForgetsWhichObjectAcquired(RedisLock):
    """It keeps the token by the lock's name, so that who lost the race has the winner's."""

    _winners: ClassVar[dict[str, RedisLock]] = {}

    def attempt(self, **options: Any) -> Holder | None:
        """Remember the winner for everybody."""
        busy = super().attempt(**options)
        if busy is None:
            self._winners[self.name] = self
        return busy

    def release(self) -> bool:
        """Release what the winner holds."""
        return RedisLock.release(self._winners[self.name])


class CountsGrants(RedisLock):
    """Fencing tokens by counting, as INCR does: they begin again when Redis lost its data."""

    _script = _with_instead(
        ACQUIRE,
        "local fencing_token = now_us",
        "local fencing_token = string.format('%.0f', (last or 0) + 1)",
    )

    def attempt(self, **options: Any) -> Holder | None:
        """Take the lock, with a small number."""
        with mock.patch.object(verbs, "ACQUIRE", self._script):
            return super().attempt(**options)


class RenewsWhatIsGone(RedisLock):
    """A renewal that says SET where the key is missing."""

    _script = _with_instead(
        RENEW,
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then",
        "redis.call('SET', KEYS[1], ARGV[1], 'NX')\nif redis.call('GET', KEYS[1]) ~= ARGV[1] then",
    )

    def renew(self) -> bool:
        """Renew or take."""
        with mock.patch.object(verbs, "RENEW", self._script):
            return super().renew()


class RenewsAnyonesLock(RedisLock):
    """PEXPIRE without a look at the owner."""

    def renew(self) -> bool:
        """Prolong whatever there is."""
        return bool(self.redis_client.pexpire(self.name, 10_000))


class TakesSilenceForALoss(RedisLock):
    """A renewal without a reply counts as refused."""

    def renew(self) -> bool:
        """Ask once."""
        lease = self._holding.lease
        assert lease is not None
        command = RENEW.command(self._verbs.keys.renewed, lease.token, lease.ttl_ms)
        try:
            return bool(self._verbs.store.ask(command, 0.25))
        except redis.RedisError:
            return False


class ForgetsItsRelease(RedisLock):
    """GET, compare, DEL: the second send finds nothing to delete."""

    _script = _with_instead(RELEASE, "told == RELEASED", "false")

    def release(self) -> bool:
        """Release, and deny it when asked again."""
        with mock.patch.object(verbs, "RELEASE", self._script):
            return super().release()


class BelievesFromTheReplyOn(RedisLock):
    """The lease begins when its holder hears of it."""

    def _take(self, token: str, granted: Granted) -> None:
        super()._take(token, granted._replace(sent_at=now()))


class HoldsWithoutRedis(RedisLock):
    """Better to run unlocked than not at all, it thinks."""

    def attempt(self, **options: Any) -> Holder | None:
        """Take silence for consent."""
        try:
            return super().attempt(**options)
        except StoreUnavailable:
            self._take(uuid4().hex, Granted(1, now(), ""))
            return None
