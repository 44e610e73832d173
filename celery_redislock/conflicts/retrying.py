"""Retrying: how often a task was tried again for one reason, and when it is tried next."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..config.options import LockOptions
from ..messages.headers import attempts_in, attempts_value

__all__ = ["LEASE_END_JITTER_S", "Attempts"]

#: A retry comes at most this long after the end of the holder's lease, seconds.
LEASE_END_JITTER_S = 1.0
#: Any largest delay is reached after so many doublings.
_DOUBLINGS = 32


@dataclass(frozen=True)
class Attempts:
    """How often a task was tried again for one reason, and how long it has waited for that.

    Attributes:
        count: How often.
        waited_s: Sum of its delays, seconds. Not the time since the first attempt: the clocks of two workers
            may differ by more than a task is to wait.
    """

    count: int = 0
    waited_s: float = 0.0

    @classmethod
    def in_headers(cls, headers: Mapping[str, Any] | None, name: str) -> Attempts:
        """Return what the header of this name says; without it, none."""
        return cls(*attempts_in(headers, name))

    def as_header(self) -> dict[str, Any]:
        """Return the value of the header that carries it."""
        return attempts_value(self.count, self.waited_s)

    def after(self, delay_s: float) -> Attempts:
        """Return these attempts and one more, for which the task waits so long."""
        return Attempts(self.count + 1, self.waited_s + delay_s)

    def delay_s(self, options: LockOptions, lease_left: float | None = None) -> float:
        """Return how long the task waits before it is tried again, seconds.

        The delay doubles from the first to the largest one of `lock_retry_delay`, and a random part of up to
        a half is taken off. It does not reach far beyond the holder's lease.

        Args:
            options: Of the call.
            lease_left: Seconds until the lease of the lock's holder ends; None: it never does.
        """
        first_ms, largest_ms = options.retry_delay_ms
        longest_ms = min(first_ms * 2 ** min(self.count, _DOUBLINGS), largest_ms)
        delay_s: float = longest_ms / 1000 * random.uniform(0.5, 1)  # noqa: S311
        if lease_left is None:
            return delay_s
        return min(delay_s, lease_left + random.uniform(0, LEASE_END_JITTER_S))  # noqa: S311

    def next_delay_s(self, options: LockOptions, lease_left: float | None = None) -> float | None:
        """Return the same within the time of `lock_retry_for`; None when that is over."""
        delay_s = self.delay_s(options, lease_left)
        if options.retry_for_ms is None:
            return delay_s
        left_s = round(options.retry_for_ms / 1000 - self.waited_s, 3)
        return min(delay_s, left_s) if left_s > 0 else None
