"""Holding: what one lock object holds by the local clock, and whether it lost it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, TypeVar
from weakref import WeakMethod, ref

from ...errors import ConfigurationError, LockLost
from ..threads import begin, here
from .lease import Lease, now

logger = logging.getLogger(__name__)

Owner = TypeVar("Owner")

#: Returns what is to be called, or None once its object is gone: a callback keeps no dropped lock alive.
Teller: TypeAlias = Callable[[], Callable[[], object] | None]


class _Grant:
    """One grant, from its beginning on. Each change is one step: threads share it without a mutex."""

    __slots__ = ("is_over", "lease", "loss", "loss_untold", "process", "stop_untold")

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        #: Who holds it: the child of a fork inherits the object, and not the lock.
        self.process = here()
        self.loss: str | None = None
        self.is_over = False
        #: Emptied by the one thread that tells of the loss, or that the holder is to stop.
        self.loss_untold, self.stop_untold = [True], [True]

    @property
    def loss_by_now(self) -> str | None:
        if self.loss is None and not self.is_over and self.lease.remaining(now()) <= 0:
            return "its lease ran out"
        return self.loss


class Holding:
    """The lease of one lock object. Threads may share it.

    Args:
        name: The lock, for the log.
        on_lost: What it returns is called once for each lease that is lost, in a thread of its own.
        on_stop_wanted: The same for each lease whose holder is asked to stop.
    """

    def __init__(
        self, name: str, on_lost: Teller | None = None, on_stop_wanted: Teller | None = None
    ) -> None:
        self._name = name
        self._on_lost, self._on_stop_wanted = on_lost, on_stop_wanted
        self._grant: _Grant | None = None

    @property
    def lease(self) -> Lease | None:
        """The last lease that was granted to this process and not given back, valid or not."""
        grant = self._grant
        return grant.lease if grant is not None and not grant.is_over and grant.process is here() else None

    @property
    def valid_lease(self) -> Lease | None:
        """The lease while it can be believed."""
        lease = self.lease
        return lease if lease is not None and self.loss is None else None

    @property
    def loss(self) -> str | None:
        """Why the lease was lost; None while it is valid, or where there is none to lose.

        Computed from the clock, so it is right even before the thread that renews has noticed.
        """
        grant = self._grant
        return grant.loss_by_now if grant is not None and grant.process is here() else None

    @property
    def absence(self) -> str:
        """Why there is no valid lease."""
        grant = self._grant
        if grant is not None and not grant.is_over and grant.process is not here():
            return "this process is the child of a fork: only its parent may hold it"
        return self.loss or "it is not held"

    def take(self, lease: Lease) -> None:
        """Hold a new lease; an earlier loss is forgotten."""
        self._grant = _Grant(lease)

    def renewed(self, token: str, sent_at: float, ttl_ms: int) -> None:
        """Take note that Redis accepted a renewal of the lease with this token."""
        grant = self._grant_of(token)
        if grant is not None:
            grant.lease = grant.lease.renewed(sent_at, ttl_ms)

    def give_back(self, token: str) -> None:
        """Hold the lease with this token no more. A loss that came before stays known."""
        grant = self._grant_of(token)
        if grant is not None:
            grant.loss = grant.loss_by_now
            grant.is_over = True

    def report_lost(self, token: str, reason: str) -> None:
        """Take note that the lease with this token is lost; the first reason counts."""
        grant = self._grant_of(token)
        if grant is None or not grant.loss_untold:
            return
        if grant.loss is None:
            grant.loss = grant.loss_by_now or reason
            logger.warning("lock %r is lost: %s", self._name, reason)
        if self._on_lost is None:
            grant.loss_untold.clear()
        else:
            self._start(self._on_lost, grant.loss_untold, "on_lost")

    def report_stop_wanted(self, token: str) -> None:
        """Take note that the holder of the lease with this token is asked to stop."""
        grant = self._grant_of(token)
        if grant is not None and grant.stop_untold and self._on_stop_wanted is not None:
            self._start(self._on_stop_wanted, grant.stop_untold, "on_stop_wanted")

    def _grant_of(self, token: str) -> _Grant | None:
        grant = self._grant
        is_it = grant is not None and not grant.is_over and grant.lease.token == token
        return grant if is_it else None

    def _start(self, teller: Teller, once: list[bool], name: str) -> None:
        # Looked up here, not in the thread: a run that notices its loss at its end would be gone by then.
        tell = teller()
        if tell is None:
            return
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


def weakly(
    owner: Owner, tell: Callable[[Owner], object] | WeakMethod[Any] | None, name: str
) -> Teller | None:
    """Return what gives the call of `tell` with its owner, while that and the method's object live.

    Args:
        owner: What `tell` takes.
        tell: Of the user; None: there is nothing to call.
        name: What the user calls it.

    Raises:
        ConfigurationError: It cannot be called.
    """
    if tell is None:
        return None
    if not callable(tell):
        raise ConfigurationError(f"{name} must be callable, not {type(tell).__name__}")
    known = ref(owner)

    def teller() -> Callable[[], object] | None:
        owner, method = known(), tell() if isinstance(tell, WeakMethod) else tell
        return None if owner is None or method is None else partial(method, owner)

    return teller
