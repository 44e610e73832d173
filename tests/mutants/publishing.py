"""Wrong publish locks: each breaks one rule, as others have broken it; the checks must tell."""

from __future__ import annotations

import time
from typing import Any

from celery_redislock import Holder
from celery_redislock.publish_lock.record import PublishLock


class LooksAndThenTakes(PublishLock):
    """Checks and sets in two steps."""

    def take(self, token: str, work: str, ttl_ms: int, **_: Any) -> Holder | None:
        """Take it, unless it was there a moment ago."""
        waiting = self._companion.call("GET", self._keys.reservation)
        if waiting is not None:
            return Holder({"id": waiting[33:].decode(), "state": "waiting"})
        time.sleep(0.002)
        self._companion.call("SET", self._keys.reservation, f"{token} {work}", "PX", ttl_ms)
        return None


class FreesAnybodys(PublishLock):
    """Deletes without looking."""

    def free(self, token: str, within: float = 5.0) -> bool:
        """Delete the key."""
        return bool(self._companion.call("DEL", self._keys.reservation))


class LooksAtItselfOnly(PublishLock):
    """Forgets that an equal work may run."""

    def take(self, token: str, work: str, ttl_ms: int, **options: Any) -> Holder | None:
        """Take it, whoever has the lock."""
        return super().take(token, work, ttl_ms, **{**options, "runs": False})


class MakesATokenForEachSend(PublishLock):
    """Meets itself when a reply was lost."""

    def take(self, token: str, work: str, ttl_ms: int, **options: Any) -> Holder | None:
        """Take it twice, as after a lost reply."""
        super().take("f" * 32, work, ttl_ms, **options)
        return super().take(token, work, ttl_ms, **options)


def install(name: str) -> None:
    """Have every publish lock of this process be a wrong one."""
    right = PublishLock.__init__

    def init(self: PublishLock, *arguments: Any, **options: Any) -> None:
        right(self, *arguments, **options)
        self.__class__ = globals()[name]

    PublishLock.__init__ = init  # type: ignore[method-assign]
