"""Watch: one lease that is renewed, or only watched: when it is due, and what is asked for then."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol
from weakref import ReferenceType

from ..protocol.script import Script
from .lease import Lease, believed_s, first_ms
from .loss import Loss

#: The shortest pause before a failed renewal is tried again, seconds.
LEAST_PAUSE_S = 0.02


class Renewable(Protocol):
    """What the thread needs of a lock: `Holding` is one."""

    @property
    def lease(self) -> Lease | None:
        """The lease that is held, if one is."""

    def renewed(self, token: str, sent_at: float, ttl_ms: int) -> None:
        """Take note of an accepted renewal."""

    def renewal_failed(self, token: str, failure: str) -> None:
        """Take note of a renewal that has failed, and is tried again."""

    def report_lost(self, token: str, loss: Loss) -> None:
        """Take note that the lease is lost."""

    def report_stop_wanted(self, token: str) -> None:
        """Take note that the holder is asked to stop."""


def as_given(keys: tuple[bytes, ...], _: str) -> tuple[bytes, ...]:
    """Declare the keys that `Renewal.watch` was given."""
    return keys


class Way:
    """How leases of one length are watched: made once for all locks on the same terms.

    Args:
        ttl_ms: Length of the lease and of each renewal.
        verb: The script that renews; it takes the token and the ttl. None: each is only watched to its end.
        keys_of: From what `Renewal.watch` is given, keys and token, to the keys that this script declares.
        acks: How many replicas must acknowledge a renewal.
        interval_s: Renew it more often than each third of its ttl: to be asked to stop in time.
        max_hold_ms: No renewal reaches further than this after the grant; None: no bound.

    Attributes:
        group: In one pipeline go renewals for which this is the same.
        pause_s: Before a failed renewal is tried again.
        first_s: When a lease is looked at first, counted from when it was asked for.
    """

    __slots__ = ("acks", "first_s", "group", "interval_s", "keys_of", "pause_s", "verb")

    def __init__(
        self,
        ttl_ms: int,
        verb: Script | None,
        keys_of: Callable[[Any, str], tuple[bytes, ...]] = as_given,
        *,
        acks: int = 0,
        interval_s: float = math.inf,
        max_hold_ms: int | None = None,
    ) -> None:
        self.verb, self.keys_of, self.acks = verb, keys_of, acks
        self.group = (acks, verb)
        self.interval_s = min(ttl_ms / 3000, interval_s)
        self.pause_s = max(self.interval_s / 4, LEAST_PAUSE_S)
        ends_s = believed_s(first_ms(ttl_ms, max_hold_ms))
        has_more = max_hold_ms is None or max_hold_ms > self.interval_s * 1000
        self.first_s = min(self.interval_s, ends_s) if verb is not None and has_more else ends_s

    def explained(self, error: Exception) -> Exception:
        """Return what a renewal has met, with the command that its user may not run, if it was that."""
        return (self.verb.forbidden(error) if self.verb else None) or error


class Watch:
    """One lease under watch, as the thread that renews sees it.

    Args:
        lock: Who is told. Referred to weakly: dropped, it is renewed no more.
        token: Of the lease.
        keys: See `Way`.
        way: How it is watched.
        due: When it is looked at first.
    """

    def __init__(self, lock: ReferenceType[Renewable], token: str, keys: Any, way: Way, due: float) -> None:
        self.lock, self.token, self.way, self.due = lock, token, way, due
        self.keys = way.keys_of(keys, token)
        self.failure = ""

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
        has_more = self.way.verb is not None and lease.renewal_ms(due) > 0
        self.due = min(due, lease.valid_until) if has_more else lease.valid_until

    def is_due_at(self, at: float) -> bool:
        """Whether it should be served now: also half an interval early, to share the pipeline."""
        return self.due <= at + (self.way.interval_s / 2 if self.ttl_ms_at(at) else 0)

    def late_s_at(self, at: float) -> float:
        """Return for how long it has been due, seconds; 0.0 when it is served early, with others."""
        return max(0.0, at - self.due)

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
        return lease.renewal_ms(at) if lease is not None and self.way.verb is not None else 0
