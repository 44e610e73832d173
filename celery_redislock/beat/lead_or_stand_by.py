"""Lead or stand by: a beat of which many may run leads and sends, or stands by.

The leader holds a lock. The others wait in line for that lock and have no scheduler at all. A beat that
comes to lead makes a scheduler of the class that `redislock_beat_scheduler` names: so it reads the schedule
as it is now, and the beats that stand by do not open the same schedule file. It goes on from what was sent
last, by the record in Redis.

The leader renews its lease between two ticks, not in a thread: a beat that hangs loses its lease like one
that is dead. While it makes its scheduler a thread renews the lease: with thousands of entries in a database
that may take longer than a lease, and without the thread every beat would make one and none would lead.

That nothing is sent twice does not depend on the lease: see `tenure.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from celery import Celery
from celery.beat import Scheduler

from ..config.provider import provider_of
from ..engine import CALL_S, RedisLock, now
from ..engine.threads import Bell, begin
from ..errors import StoreUnavailable
from ..events import Led, tell
from ..holder import holder_metadata
from ..observing import metric_settings
from ..observing import receivers as observing
from ..observing.destinations import destinations_of
from ..plugin import install
from .claiming import ClaimingScheduler, claiming
from .ledger import Ledger
from .settings import beat_settings
from .tenure import Tenure

__all__ = ["LockedScheduler"]

# A beat beside a worker (`-B`) may be all that an application uses of us.
install()

logger = logging.getLogger(__name__)

#: How long it may take to make the scheduler, seconds; a beat that takes longer hangs.
MAKING_S = 300.0

#: How long one look of a beat that stands by takes, seconds: it waits in line meanwhile.
STAND_BY_S = 1.0


class LockedScheduler(Scheduler):
    """A scheduler for several beats: one of them sends, and another takes over when that one is gone.

    Name it on the command line, ``celery beat -S celery_redislock.beat:LockedScheduler``. It wraps the
    scheduler that the setting `redislock_beat_scheduler` names.

    Args:
        app: The application.
        lazy: As for every scheduler. It makes no difference here.
        **options: What `celery.beat.Service` gives to every scheduler.

    Raises:
        ConfigurationError: A setting is wrong.
    """

    #: RedBeat's handler of the signal `beat_init` reads this; with None it takes no lock.
    lock_key = None

    def __init__(self, app: Celery, *, lazy: bool = False, **options: Any) -> None:
        del lazy  # the wrapped scheduler is made when this beat leads, not before
        provider, settings = provider_of(app), beat_settings(app.conf, LockedScheduler)
        metric_settings.check(app)
        destinations_of(app)
        self._options = options
        self._wrapped, self._name = settings.scheduler, settings.name
        self._leading: ClaimingScheduler | None = None
        self._is_redis_away = self._is_busy = self._must_end = self._has_reported_stand_by = False
        self._interval_s = settings.ttl_ms / 3000
        self._lock = RedisLock(
            provider.client,
            f"{provider.prefix}beat:{settings.name}",
            expire=settings.ttl_ms / 1000,
            metadata={**holder_metadata("celery beat"), "role": "leader"},
        )
        self._ledger = Ledger(provider.client, self._lock.name)
        super().__init__(app, lazy=True, **options)
        longest_s: Any = self.max_interval
        self.max_interval = min(longest_s, self._interval_s)

    @property
    def info(self) -> str:
        """What ``celery beat`` shows at its start."""
        wrapped = f"{self._wrapped.__module__}:{self._wrapped.__qualname__}"
        return f"    . wraps -> {wrapped}\n    . lock -> {self._lock.name}"

    def tick(self) -> float:  # type: ignore[override] # nobody gives the arguments of the base class
        """Send what is due, if this beat leads; else stand by for a while.

        Returns:
            For how long to sleep, seconds.
        """
        with self._busy():
            pause_s = self._send_or_stand_by()
        if self._must_end:
            # The signal's handler has raised this inside the tick, and somebody there has caught it.
            raise SystemExit
        return pause_s

    def should_sync(self) -> bool:
        """Whether the wrapped scheduler wants to write down its schedule."""
        return self._leading is not None and bool(self._leading.should_sync())

    def sync(self) -> None:
        """Have the wrapped scheduler write down its schedule, if this beat leads."""
        with self._busy():
            if self._leading is not None:
                self._leading._do_sync()  # type: ignore[attr-defined] # its stubs know less than it has

    def close(self) -> None:
        """Stop sending and give the lease back, so that another beat leads at once.

        A signal's handler may call this in the middle of a tick. Then nothing is closed, since a publication
        may be using the broker's connection: Celery calls it again when the tick has ended.
        """
        if self._is_busy:
            self._must_end = True
            return
        with self._busy():
            self._close_wrapped()
            self._give_back()
            observing.close()

    @contextmanager
    def _busy(self) -> Iterator[None]:
        self._is_busy = True
        try:
            yield
        finally:
            self._is_busy = False

    def _send_or_stand_by(self) -> float:
        if self._leading is None:
            self._stand_by()
            return 0
        if not self._keeps_the_lead():
            logger.warning("beat: no longer the leader: %s", self._lock.loss)
            self._close_wrapped()
            return 0
        return min(self._leading.tick() or 0, self._interval_s)

    def _stand_by(self) -> None:
        try:
            if self._lock.acquire(blocking=True, timeout=STAND_BY_S):
                self._lead()
            elif not self._has_reported_stand_by:
                self._has_reported_stand_by = True
                tell(Led(self.app, self._name, leads=False))
                # A warning: in a log without it a beat that stands by looks like one that hangs.
                logger.warning("beat: standing by: another beat is the leader (lock %s)", self._lock.name)
            self._is_redis_away = False
        except StoreUnavailable as error:
            if not self._is_redis_away:
                logger.warning("beat: nothing is sent: %s", error)
            self._is_redis_away = True

    def _lead(self) -> None:
        """Make the scheduler, and have it go on from what was sent last."""
        try:
            tenure = Tenure(self._lock, self._ledger)
            with self._renewed_by_a_thread():
                leading = claiming(self._wrapped)(self.app, lazy=False, **self._options)
                leading.begin(tenure)
        except BaseException:
            self._give_back()
            raise
        self._leading = leading
        self._has_reported_stand_by = False
        tell(Led(self.app, self._name, leads=True))
        logger.info("beat: now the leader (lock %s)", self._lock.name)

    @contextmanager
    def _renewed_by_a_thread(self) -> Iterator[None]:
        done, ended = Bell(), Bell()
        is_renewed = begin(partial(self._renew_until, done, ended), "redislock-beat")
        try:
            yield
        finally:
            done.ring()
            if is_renewed:
                ended.wait(2 * CALL_S)

    def _renew_until(self, done: Bell, ended: Bell) -> None:
        ends_at = now() + MAKING_S
        while not done.wait(self._interval_s) and now() < ends_at and self._keeps_the_lead():
            pass
        ended.ring()

    def _keeps_the_lead(self) -> bool:
        """Renew the lease when it is time, and say whether there still is one."""
        if self._lock.remaining < 2 * self._interval_s:
            try:
                self._lock.renew()
            except StoreUnavailable as error:
                logger.warning("beat: could not renew the lease: %s", error)
        return self._lock.remaining > 0

    def _close_wrapped(self) -> None:
        """Close the wrapped scheduler, if there is one."""
        leading, self._leading = self._leading, None
        if leading is None:
            return
        tell(Led(self.app, self._name, leads=False))
        try:
            leading.close()
        except Exception:
            logger.exception("beat: could not close the scheduler %s", self._wrapped.__name__)

    def _give_back(self) -> None:
        with suppress(StoreUnavailable):
            self._lock.release()
