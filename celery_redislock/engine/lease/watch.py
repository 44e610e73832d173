"""Watch: one lease that is renewed, or only watched: when it is due, and what is asked for then."""

from __future__ import annotations

from typing import Protocol
from weakref import ReferenceType, ref

from ..protocol.script import Script
from .lease import Lease, now

#: The shortest pause before a failed renewal is tried again, seconds.
LEAST_PAUSE_S = 0.02


class Renewable(Protocol):
    """What the thread needs of a lock: `Holding` is one."""

    @property
    def lease(self) -> Lease | None:
        """The lease that is held, if one is."""

    def renewed(self, token: str, sent_at: float, ttl_ms: int) -> None:
        """Take note of an accepted renewal."""

    def report_lost(self, token: str, reason: str) -> None:
        """Take note that the lease is lost."""

    def report_stop_wanted(self, token: str) -> None:
        """Take note that the holder is asked to stop."""


class Watch:
    """One lease under watch. The lock is referred to weakly: dropped, it is renewed no more."""

    def __init__(
        self,
        lock: Renewable,
        lease: Lease,
        keys: tuple[bytes, ...],
        *,
        renew: bool,
        acks: int,
        verb: Script,
        interval_s: float,
    ) -> None:
        #: How it is renewed: in one pipeline go those for which that is the same.
        self.way = (acks, verb)
        self.lock: ReferenceType[Renewable] = ref(lock)
        self.token = lease.token
        self.keys = keys
        self.failure = ""
        self.interval_s = min(lease.ttl_ms / 3000, interval_s)
        self.pause_s = max(self.interval_s / 4, LEAST_PAUSE_S)
        self._renew = renew
        self.began_at = now()
        self.due = self._due(lease, self.began_at + self.interval_s)

    def lease(self) -> Lease | None:
        """Return the lease if it is still the one that was given to watch."""
        lock = self.lock()
        lease = None if lock is None else lock.lease
        return lease if lease is not None and lease.token == self.token else None

    def schedule(self, due: float, *, failure: str) -> None:
        """Look at this lease again at `due`, or when it ends if that is sooner or all that is left."""
        lease = self.lease()
        if lease is None:
            return
        self.failure = failure
        self.due = self._due(lease, due)

    def _due(self, lease: Lease, due: float) -> float:
        has_more = self._renew and lease.renewal_ms(due) > 0
        return min(due, lease.valid_until) if has_more else lease.valid_until

    def is_due_at(self, at: float) -> bool:
        """Whether it should be served now: also half an interval early, to share the pipeline."""
        return self.due <= at + (self.interval_s / 2 if self.ttl_ms_at(at) else 0)

    def wants_renewal_at(self, at: float) -> bool:
        """Whether there is a lease to renew, and time left to hold it for."""
        return self.remaining_at(at) > 0 and self.ttl_ms_at(at) > 0

    def remaining_at(self, at: float) -> float:
        """Return for how many seconds the lease can be believed; 0.0 when it is over."""
        lease = self.lease()
        return 0.0 if lease is None else lease.remaining(at)

    def ttl_ms_at(self, at: float) -> int:
        """Return the ttl that a renewal sent at `at` asks for, milliseconds; 0 for none."""
        lease = self.lease()
        return lease.renewal_ms(at) if lease is not None and self._renew else 0
