"""Beat: ``celery beat -S celery_redislock.beat:LockedScheduler``, on as many hosts as you like.

One of them leads: it holds a lock, and sends. The others stand by in line for that lock and have no
scheduler at all. Who comes to lead makes one anew, of the class that `redislock_beat_scheduler` names:
so it reads what the wrapped scheduler keeps as it is now, and those who stand by do not fight over a
schedule file. From there on it goes on from what was sent last, by the record in Redis.

The leader renews its lease between two ticks, not in a thread: one that hangs is replaced like one that
is dead. (Only while it makes its scheduler, which may take longer than a lease where thousands of entries
are in a database, a thread does it: else all beats would make theirs, and none would lead.) To be replaced
is cheap. That nothing is sent twice does not hang on the lease: each due time is
claimed in Redis first, and only the leader's token can claim.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from inspect import isclass
from typing import Any

from celery import Celery
from celery.beat import Scheduler
from celery.utils.imports import load_extension_class_names, symbol_by_name

from ..config.options import duration_ms
from ..config.provider import provider_of
from ..config.unknown_settings import spelled
from ..engine import RedisLock
from ..engine.lease.lease import now
from ..engine.threads import Bell, begin
from ..engine.transport.store import CALL_S
from ..errors import ConfigurationError, StoreUnavailable
from ..holder import holder_metadata
from ..plugin import install
from .claiming import ClaimingScheduler, Tenure, claiming
from .ledger import Ledger

__all__ = ["LockedScheduler"]

# A beat beside a worker (`-B`) may be all that an application uses of us.
install()

logger = logging.getLogger(__name__)

#: How long it may take to make the scheduler, seconds; a beat that takes longer hangs.
MAKING_S = 300.0

#: How long one look of a beat that stands by takes, seconds: it waits in line meanwhile.
STAND_BY_S = 1.0


@dataclass(frozen=True)
class BeatSettings:
    """The settings of beat, checked.

    Attributes:
        scheduler: The class that is wrapped.
        name: Beats of one name are one group.
        ttl_ms: Length of the leader's lease, milliseconds.
    """

    scheduler: type[Scheduler]
    name: str
    ttl_ms: int


def beat_settings(conf: Mapping[str, Any]) -> BeatSettings:
    """Check the settings of beat.

    Raises:
        ConfigurationError: One is wrong.
    """
    name = conf.get("redislock_beat_name")
    name = "beat" if name is None else name
    if not isinstance(name, str) or not name:
        raise ConfigurationError(
            f"{spelled(conf, 'redislock_beat_name')} setting must be a text that is not empty, such as 'beat'"
        )
    ttl = conf.get("redislock_beat_ttl")
    label = f"{spelled(conf, 'redislock_beat_ttl')} setting"
    ttl_ms = duration_ms(15 if ttl is None else ttl, label, minimum_ms=1000)
    label = f"{spelled(conf, 'redislock_beat_scheduler')} setting"
    return BeatSettings(_scheduler_class(conf.get("redislock_beat_scheduler"), label), name, ttl_ms)


def _scheduler_class(named: object, label: str) -> type[Scheduler]:
    named = "celery.beat:PersistentScheduler" if named is None else named
    if isinstance(named, str):
        try:
            named = symbol_by_name(named, aliases=_aliases())
        except Exception as error:
            raise ConfigurationError(f"{label} {named!r} cannot be imported: {error}") from error
    if not isclass(named) or not issubclass(named, Scheduler):
        raise ConfigurationError(
            f"{label} must name a subclass of celery.beat.Scheduler such as 'celery.beat:PersistentScheduler'"
        )
    if issubclass(named, LockedScheduler):
        raise ConfigurationError(f"{label} must name the scheduler to wrap, not the one that wraps it")
    return named


def _aliases() -> dict[str, str]:
    """Return the short names that packages give to their schedulers, as ``celery beat -S`` knows them."""
    named: Any = load_extension_class_names("celery.beat_schedulers")
    return dict(named)


class LockedScheduler(Scheduler):
    """A scheduler of which many may run: one sends, and another takes over when it is gone.

    Takes what `celery.beat.Service` gives to every scheduler.

    Raises:
        ConfigurationError: A setting is wrong.
    """

    #: What RedBeat's handler of the signal `beat_init` asks for: no lock, it then leaves alone.
    lock_key = None

    def __init__(self, app: Celery, *, lazy: bool = False, **options: Any) -> None:
        del lazy  # it is set up when it leads, not before
        provider, settings = provider_of(app), beat_settings(app.conf)
        self._options = options
        self._wrapped = settings.scheduler
        self._leading: ClaimingScheduler | None = None
        self._is_away = self._is_busy = self._is_to_end = self._is_known_to_stand_by = False
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
        with self._undisturbed():
            pause_s = self._send_or_stand_by()
        if self._is_to_end:
            # Of the SystemExit of a signal a library has made an error, and Celery a line in the log.
            raise SystemExit
        return pause_s

    def should_sync(self) -> bool:
        """Whether the wrapped scheduler wants to write down its schedule."""
        return self._leading is not None and bool(self._leading.should_sync())

    def sync(self) -> None:
        """Have the wrapped scheduler write down its schedule, if this beat leads."""
        with self._undisturbed():
            if self._leading is not None:
                self._leading._do_sync()  # type: ignore[attr-defined] # its stubs know less than it has

    def close(self) -> None:
        """Stop sending and give the lease back, so that another beat leads at once.

        Called by a signal's handler in the middle of a tick it does nothing: it would tear the broker's
        connection away from a publication. Celery closes again when the tick has ended.
        """
        if self._is_busy:
            self._is_to_end = True
            return
        with self._undisturbed():
            self._put_down()
            self._give_back()

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
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
            logger.warning("beat: leads no more: %s", self._lock.loss)
            self._put_down()
            return 0
        return min(self._leading.tick() or 0, self._interval_s)

    def _stand_by(self) -> None:
        try:
            if self._lock.acquire(blocking=True, timeout=STAND_BY_S):
                self._lead()
            elif not self._is_known_to_stand_by:
                self._is_known_to_stand_by = True
                # Louder than a mere note: without it a beat that stands by looks like one that hangs.
                logger.warning("beat: stands by: another beat leads, as %s", self._lock.name)
            self._is_away = False
        except StoreUnavailable as error:
            if not self._is_away:
                logger.warning("beat: nothing is sent by this beat: %s", error)
            self._is_away = True

    def _lead(self) -> None:
        """Make the scheduler, and have it go on from what was sent last."""
        try:
            tenure = Tenure(self._lock, self._ledger)
            with self._renewed_meanwhile():
                leading = claiming(self._wrapped)(self.app, lazy=False, **self._options)
                leading.begin(tenure)
        except BaseException:
            self._give_back()
            raise
        self._leading = leading
        self._is_known_to_stand_by = False
        logger.info("beat: leads now, as %s", self._lock.name)

    @contextmanager
    def _renewed_meanwhile(self) -> Iterator[None]:
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

    def _put_down(self) -> None:
        """Close the wrapped scheduler, if there is one."""
        leading, self._leading = self._leading, None
        if leading is None:
            return
        try:
            leading.close()
        except Exception:
            logger.exception("beat: could not close %s", self._wrapped.__name__)

    def _give_back(self) -> None:
        with suppress(StoreUnavailable):
            self._lock.release()
