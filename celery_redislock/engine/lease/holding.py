"""Holding: what one lock object holds by the local clock, and whether it lost it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, TypeAlias
from weakref import ReferenceType, WeakMethod

from ...errors import ConfigurationError, LockLost
from ...holder import Holder
from ...log_fields import in_log
from ..threads import begin, here
from .lease import Lease, now
from .loss import Loss, ended

logger = logging.getLogger(__name__)

Callback: TypeAlias = Callable[[Any], object] | WeakMethod[Any]


class Observer(Protocol):
    """Who is told what becomes of a lock. Each is told once for each lease, in a thread of its own."""

    def log_facts(self) -> Mapping[str, Any]:
        """Return whose lock it is, for the log: facts as in ``log_fields.py``."""

    def report_waiting(self, lock: Any, holder: Holder) -> object:
        """Take note that it is busy, and waited for. Called by the thread that waits, before it waits."""

    def report_lost(self, lock: Any) -> object:
        """Take note that the lease is lost."""

    def report_stop_wanted(self, lock: Any) -> object:
        """Take note that the holder is asked to stop."""


class _Grant:
    """One grant, from its beginning on. Each change is one step: threads share it without a mutex."""

    __slots__ = ("failure", "is_over", "lease", "loss", "loss_untold", "process", "stop_untold")

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        #: Who holds it: the child of a fork inherits the object, and not the lock.
        self.process = here.process
        self.loss: Loss | None = None
        #: Of the last renewal.
        self.failure = ""
        self.is_over = False
        #: Emptied by the one thread that tells of the loss, or that the holder is to stop.
        self.loss_untold, self.stop_untold = [True], [True]

    @property
    def loss_by_now(self) -> Loss | None:
        if self.loss is None and not self.is_over and now() >= self.lease.valid_until:
            return ended(self.lease, self.failure)
        return self.loss


class Holding:
    """The lease of one lock object. Threads may share it.

    Args:
        name: The lock, for the log.
        lock: The object that holds it.
        observer: Who is told; None: nobody. Weak, both: a lock that is dropped is not kept alive by a report.
    """

    def __init__(
        self, name: str, lock: ReferenceType[Any], observer: ReferenceType[Observer] | None = None
    ) -> None:
        self._name, self._lock, self._observer = name, lock, observer
        self._grant: _Grant | None = None

    @property
    def lease(self) -> Lease | None:
        """The last lease that was granted to this process and not given back, valid or not."""
        grant = self._grant
        return (
            grant.lease if grant is not None and not grant.is_over and grant.process is here.process else None
        )

    @property
    def valid_lease(self) -> Lease | None:
        """The lease while it can be believed."""
        lease = self.lease
        return lease if lease is not None and self.loss is None else None

    @property
    def loss(self) -> Loss | None:
        """Why the lease was lost; None while it is valid, or where there is none to lose.

        Computed from the clock, so it is right even before the thread that renews has noticed.
        """
        grant = self._grant
        return grant.loss_by_now if grant is not None and grant.process is here.process else None

    @property
    def absence(self) -> str:
        """Why there is no valid lease."""
        grant = self._grant
        if grant is not None and not grant.is_over and grant.process is not here.process:
            return "this process is the child of a fork: only its parent may hold it"
        loss = self.loss
        return "it is not held" if loss is None else loss.text

    def take(self, lease: Lease) -> None:
        """Hold a new lease; an earlier loss is forgotten."""
        self._grant = _Grant(lease)

    def renewed(self, token: str, sent_at: float, ttl_ms: int) -> None:
        """Take note that Redis accepted a renewal of the lease with this token."""
        grant = self._grant_of(token)
        if grant is not None:
            grant.lease = grant.lease.renewed(sent_at, ttl_ms)
            grant.failure = ""

    def renewal_failed(self, token: str, failure: str) -> None:
        """Take note that the lease with this token could not be renewed, and goes on as it was.

        Args:
            token: Of the lease.
            failure: Why the lock will be lost if none succeeds until the lease ends, as a text.
        """
        grant = self._grant_of(token)
        if grant is not None:
            grant.failure = failure

    def give_back(self, token: str) -> None:
        """Hold the lease with this token no more. A loss that came before stays known."""
        grant = self._grant_of(token)
        if grant is not None:
            grant.loss = grant.loss_by_now
            grant.is_over = True

    def report_lost(self, token: str, loss: Loss) -> None:
        """Take note that the lease with this token is lost; the first loss counts."""
        self._report_lost(self._grant_of(token), loss)

    def report_lost_at_release(self, token: str, loss: Loss) -> None:
        """The same, once it is given back: Redis may say so later."""
        grant = self._grant
        self._report_lost(grant if grant is not None and grant.lease.token == token else None, loss)

    def _report_lost(self, grant: _Grant | None, loss: Loss) -> None:
        if grant is None or not grant.loss_untold:
            return
        # Looked up before the loss shows: whoever sees it may be gone a moment later.
        tell = self._report("report_lost")
        if grant.loss is None:
            # A key that is gone after the end of its lease says nothing of others; a mark of force does.
            grant.loss = first = loss if loss.reason == "forced" else grant.loss_by_now or loss
            facts = self._log_fields(grant.lease, first.reason)
            logger.warning("lock %r is lost: %s", self._name, first.text, extra=facts)
        if tell is None:
            grant.loss_untold.clear()
        else:
            self._start(tell, grant.loss_untold, "on_lost")

    def _log_fields(self, lease: Lease, reason: str) -> Mapping[str, Any]:
        observer = None if self._observer is None else self._observer()
        whose = {} if observer is None else observer.log_facts()
        token = lease.fencing_token
        return in_log(lock=self._name, action="lost", reason=reason, fencing_token=token, **whose)

    def report_waiting(self, holder: Holder) -> None:
        """Take note that the lock is busy, and that this object begins to wait for it."""
        lock, observer = self._lock(), None if self._observer is None else self._observer()
        if lock is not None and observer is not None:
            observer.report_waiting(lock, holder)

    def report_stop_wanted(self, token: str) -> None:
        """Take note that the holder of the lease with this token is asked to stop."""
        grant = self._grant_of(token)
        tell = self._report("report_stop_wanted")
        if grant is not None and grant.stop_untold and tell is not None:
            self._start(tell, grant.stop_untold, "on_stop_wanted")

    def _grant_of(self, token: str) -> _Grant | None:
        grant = self._grant
        is_it = grant is not None and not grant.is_over and grant.lease.token == token
        return grant if is_it else None

    def _report(self, name: str) -> Callable[[], object] | None:
        """Return what tells the observer; None: he, or the lock, is gone."""
        lock, observer = self._lock(), self._observer and self._observer()
        return None if lock is None or observer is None else partial(getattr(observer, name), lock)

    def _start(self, tell: Callable[[], object], once: list[bool], name: str) -> None:
        # In a thread of its own: a slow callback must not keep other locks from being renewed.
        work = partial(self._tell_once, tell, once, name)
        if not begin(work, "redislock-tell"):
            work()

    def _tell_once(self, tell: Callable[[], object], once: list[bool], name: str) -> None:
        # Taken only now, by the thread that tells: if one is interrupted before this, another tells.
        try:
            once.pop()
        except IndexError:
            return
        try:
            tell()
        except Exception:
            logger.exception("%s of lock %r raised an exception", name, self._name)


def chain_loss(error: BaseException, lost: LockLost) -> None:
    """Put the loss at the far end of an error's chain of contexts."""
    while error.__context__ is not None:
        error = error.__context__
    error.__context__ = lost


class Callbacks:
    """Tells functions of a user's.

    Args:
        on_lost: Called with a lock that is lost. A `weakref.WeakMethod` is called while its object lives.
        on_stop_wanted: The same for a lock whose holder is asked to stop.

    Raises:
        ConfigurationError: One of them cannot be called.
    """

    def __init__(self, on_lost: Callback | None, on_stop_wanted: Callback | None) -> None:
        for name, tell in (("on_lost", on_lost), ("on_stop_wanted", on_stop_wanted)):
            if tell is not None and not callable(tell):
                raise ConfigurationError(f"{name} must be callable, not {type(tell).__name__}")
        self._on_lost, self._on_stop_wanted = on_lost, on_stop_wanted

    def log_facts(self) -> Mapping[str, Any]:
        """Return nothing: whose lock it is the user knows."""
        return {}

    def report_waiting(self, lock: Any, holder: Holder) -> None:
        """Call nothing."""

    def report_lost(self, lock: Any) -> None:
        """Call `on_lost`."""
        _tell(self._on_lost, lock)

    def report_stop_wanted(self, lock: Any) -> None:
        """Call `on_stop_wanted`."""
        _tell(self._on_stop_wanted, lock)


def _tell(callback: Callback | None, lock: Any) -> None:
    tell = callback() if isinstance(callback, WeakMethod) else callback
    if tell is not None:
        tell(lock)
