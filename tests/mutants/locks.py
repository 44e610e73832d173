"""Wrong locks: each breaks one rule of the contract, as others have broken it; the contract must tell."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, ClassVar
from uuid import uuid4

import redis

from celery_redislock import Holder, LockLost, RedisLock, StoreUnavailable
from celery_redislock.engine.lease.lease import now
from celery_redislock.engine.protocol.exclusive import ACQUIRE, RELEASE, RENEW, Granted

from .scripts import gone_wrong


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

    _wrong = (
        ACQUIRE,
        "local fencing_token = now_us",
        "local before = string.match(redis.call('GET', holder) or '', '^%S+ (%d+)') or 0\n"
        "local fencing_token = string.format('%.0f', before + 1)",
    )

    def attempt(self, **options: Any) -> Holder | None:
        """Take the lock, with a small number."""
        with gone_wrong(*self._wrong):
            return super().attempt(**options)


class RenewsWhatIsGone(RedisLock):
    """A renewal that says SET where the key is missing."""

    _wrong = (
        RENEW,
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then",
        "redis.call('SET', KEYS[1], ARGV[1], 'NX')\nif redis.call('GET', KEYS[1]) ~= ARGV[1] then",
    )

    def renew(self) -> bool:
        """Renew or take."""
        with gone_wrong(*self._wrong):
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
        command = RENEW.command(self._verbs.keys.renewed_by(lease.token), (lease.token, lease.ttl_ms))
        try:
            return bool(self._verbs.store.ask(command, 0.25))
        except redis.RedisError:
            return False


class ForgetsItsRelease(RedisLock):
    """GET, compare, DEL: the second send finds nothing to delete."""

    _wrong = (RELEASE, "earlier == RELEASED", "false")

    def release(self) -> bool:
        """Release, and deny it when asked again."""
        with gone_wrong(*self._wrong):
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


class NeverEnds(RedisLock):
    """SET NX without PX: whoever dies has it for ever."""

    def attempt(self, **options: Any) -> Holder | None:
        """Take it, and forget its end."""
        busy = super().attempt(**options)
        if busy is None:
            self.redis_client.persist(self.name)
        return busy


class OnlySaysThatItRenews(RedisLock):
    """A renewal that looks at its own clock alone."""

    def renew(self) -> bool:
        """Hope."""
        return True


class IgnoresThatItShouldRenew(RedisLock):
    """A lease is surely long enough."""

    def __init__(self, *arguments: Any, renew: bool = False, **options: Any) -> None:
        super().__init__(*arguments, **options)


class DoesNotAskForMoreTime(RedisLock):
    """It has what it was granted, however long ago that was."""

    def attempt(self, **options: Any) -> Holder | None:
        """Take the lock with what was left when the reply came at last."""
        began_at = now()
        busy = super().attempt(**options)
        if busy is None and self.token:
            self._take(self.token, Granted(1, began_at, ""))
        return busy


class NeverTellsOfALoss(RedisLock):
    """What was taken is ours until it is released."""

    def __init__(self, *arguments: Any, on_lost: object = None, **options: Any) -> None:
        super().__init__(*arguments, **options)

    @property
    def lost(self) -> bool:
        """Never."""
        return False

    def __exit__(self, *_: object) -> None:
        """Release, whatever comes of it."""
        self.release()


class _OnLost(RedisLock):
    """Does something else than to call `on_lost`."""

    def __init__(
        self, *arguments: Any, on_lost: Callable[[Any], object] | None = None, **options: Any
    ) -> None:
        super().__init__(*arguments, on_lost=on_lost and self._is_lost, **options)
        self._told = on_lost or (lambda lock: None)

    def _is_lost(self, lock: Any) -> None:
        raise NotImplementedError


class TellsTwice(_OnLost):
    """Better once too often than never."""

    def _is_lost(self, lock: Any) -> None:
        self._told(lock)
        self._told(lock)


class TakesBackWhatItLost(_OnLost):
    """A loss must be an error: nobody else should want it."""

    def _is_lost(self, lock: Any) -> None:
        self._told(lock)
        self.redis_client.set(self.name, uuid4().hex, px=60_000)


class TakesAReleaseForALoss(_OnLost):
    """It ends, and tells so."""

    def _is_lost(self, lock: Any) -> None:
        self._told(lock)

    def release(self, **options: Any) -> bool:
        """Release and tell."""
        released = super().release(**options)
        self._told(self)
        return released

    def __exit__(self, exc_type: Any, exc: BaseException | None, traceback: Any) -> None:
        """Put the end before the error of the body."""
        self.release()
        if exc is not None and exc.__context__ is None:
            exc.__context__ = LockLost(self.name, "it was released")


class RaisesInPlaceOfTheBody(RedisLock):
    """Its own trouble is the most important."""

    def __exit__(self, *_: object) -> None:
        """Raise, whatever the body raised."""
        self.release()
        if self.lost:
            raise LockLost(self.name, "it is lost")


class IsLostForEver(RedisLock):
    """A lost object cannot be used any more."""

    def attempt(self, **options: Any) -> Holder | None:
        """Refuse."""
        return Holder() if self.lost else super().attempt(**options)


class IsLostFromTheStart(RedisLock):
    """Not held is lost."""

    @property
    def lost(self) -> bool:
        """Whether it is not held."""
        return self.token is None


class GivesEveryGrantTheSameNumber(RedisLock):
    """A fencing token, since one was asked for."""

    @property
    def fencing_token(self) -> int | None:
        """One."""
        return self.token and 1


class NumbersEachRenewal(RedisLock):
    """Each request has a number of its own."""

    _renewals = 0

    @property
    def fencing_token(self) -> int | None:
        """Count renewals too."""
        number = super().fencing_token
        return number and number + self._renewals

    def renew(self) -> bool:
        """Count."""
        self._renewals += 1
        return super().renew()


class RemembersItsNumber(RedisLock):
    """It shows the number also when it is another's turn."""

    _last: int | None = None

    @property
    def fencing_token(self) -> int | None:
        """The last one that was seen."""
        self._last = super().fencing_token or self._last
        return self._last


class AsksAgainAndAgain(RedisLock):
    """No line: who asks at the right moment has luck."""

    def attempt(self, *, blocking: bool = False, timeout: Any = None, **options: Any) -> Holder | None:
        """Poll."""
        until = now() + (timeout or 30)
        while (busy := super().attempt(**options)) is not None and blocking and now() < until:
            time.sleep(random.uniform(2, 3))
        return busy


class WaitsLongerThanItWasTold(RedisLock):
    """A timeout is a wish."""

    def attempt(self, *, blocking: bool = False, timeout: Any = None, **options: Any) -> Holder | None:
        """Wait a second more."""
        longer = None if timeout is None else timeout + 1
        return super().attempt(blocking=blocking, timeout=longer, **options)


class DoesNotWait(RedisLock):
    """It asks once."""

    def attempt(self, *, blocking: bool = False, timeout: Any = None, **options: Any) -> Holder | None:
        """Ask."""
        return super().attempt(**options)


class StaysInLine(RedisLock):
    """Who gives up does not tell."""

    def attempt(self, **options: Any) -> Holder | None:
        """Wait, and stand in line once more when the time is over."""
        busy = super().attempt(**options)
        if busy is not None and options.get("blocking"):
            self._verbs.acquire(uuid4().hex, 10_000, 4000, "{}")
        return busy
