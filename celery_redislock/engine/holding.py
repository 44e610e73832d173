"""Holding: what one lock object holds by the local clock, and whether it lost it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, TypeVar
from weakref import WeakMethod, ref

from ..errors import LockLost
from .lease import Lease, now

logger = logging.getLogger(__name__)

Owner = TypeVar("Owner")

#: Gives what is to be called, while whom it tells lives: dropped, he must not live on in a cycle.
Teller: TypeAlias = Callable[[], Callable[[], object] | None]


class Holding:
    """The lease of one lock object. Threads may share it.

    Args:
        name: The lock, for the log.
        tell: If given, what it gives is called in a thread of its own when a lease is lost, once for each.
    """

    def __init__(self, name: str, tell: Teller | None = None) -> None:
        self._name = name
        self._tell = tell
        self._changes = threading.Lock()
        self._lease: Lease | None = None
        self._loss: str | None = None
        #: What it gives is called once for each lease, in a thread of its own, when its holder is to stop.
        self.on_asked: Teller | None = None
        self._asked = ""

    @property
    def lease(self) -> Lease | None:
        """The last lease that was granted and not given back, valid or not."""
        return self._lease

    @property
    def valid_lease(self) -> Lease | None:
        """The lease while it can be believed."""
        lease = self._lease
        return lease if lease is not None and self.loss is None else None

    @property
    def loss(self) -> str | None:
        """Why the lease was lost; None while it is valid, or where there is none to lose.

        Computed from the clock, so it is right even before the thread that renews has noticed.
        """
        lease = self._lease
        if self._loss is None and lease is not None and lease.remaining(now()) <= 0:
            return "its lease ran out"
        return self._loss

    def take(self, lease: Lease) -> None:
        """Hold a new lease; an earlier loss is forgotten."""
        with self._changes:
            self._lease, self._loss = lease, None

    def renewed(self, token: str, sent_at: float, ttl_ms: int) -> None:
        """Take note that Redis accepted a renewal of the lease with this token."""
        with self._changes:
            if self._is_ours(token) and self._lease is not None:
                self._lease = self._lease.renewed(sent_at, ttl_ms)

    def give_back(self, token: str) -> None:
        """Hold the lease with this token no more. A loss that came before stays known."""
        with self._changes:
            if self._is_ours(token):
                self._loss, self._lease = self.loss, None

    def report_lost(self, token: str, reason: str) -> None:
        """Take note that the lease with this token is lost; the first reason counts."""
        with self._changes:
            if not self._is_ours(token) or self._loss is not None:
                return
            self._loss = self.loss or reason
        logger.warning("lock %r is lost: %s", self._name, reason)
        if self._tell is not None:
            self._start(self._tell)

    def report_asked(self, token: str) -> None:
        """Take note that the holder of the lease with this token is asked to stop."""
        with self._changes:
            if not self._is_ours(token) or self._asked == token or self.on_asked is None:
                return
            self._asked = token
        self._start(self.on_asked)

    def _is_ours(self, token: str) -> bool:
        return self._lease is not None and self._lease.token == token

    def _start(self, teller: Teller) -> None:
        # Asked here, not in the thread: a run that notices its loss at its end would be gone by then.
        tell = teller()
        if tell is None:
            return
        # In a thread of its own: whoever is told slowly must not keep other locks from being renewed.
        threading.Thread(target=self._tell_safely, args=(tell,), name="redislock-tell", daemon=True).start()

    def _tell_safely(self, tell: Callable[[], object]) -> None:
        try:
            tell()
        except Exception:
            logger.exception("on_lost of lock %r raised", self._name)


def chain_loss(error: BaseException, lost: LockLost) -> None:
    """Put the loss at the far end of an error's chain of contexts."""
    while error.__context__ is not None:
        error = error.__context__
    error.__context__ = lost


def weakly(owner: Owner, tell: Callable[[Owner], object] | WeakMethod[Any]) -> Teller:
    """Return what gives the call of `tell` with its owner, while that and the method's object live."""
    known = ref(owner)

    def teller() -> Callable[[], object] | None:
        owner, method = known(), tell() if isinstance(tell, WeakMethod) else tell
        return None if owner is None or method is None else partial(method, owner)

    return teller
