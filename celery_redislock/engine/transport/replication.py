"""Replication: a grant or a renewal that counts only when replicas have acknowledged it.

A script cannot call WAIT. It is sent behind the script in the same round trip, on the same connection,
and answers for all that this connection has written.
"""

from __future__ import annotations

from typing import Any

import redis

from ...errors import ConfigurationError

#: Replicas in step acknowledge in the time of a round trip; longer than this none is waited for, seconds.
ACKS_WITHIN_S = 1.0


class NotReplicated(redis.RedisError):
    """What was asked for is done, but too few replicas know it: a failover may forget it."""


def replicas(value: object, name: str) -> int:
    """Check a number of replicas given by a user.

    Raises:
        ConfigurationError: It is not a whole number from 0 on.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ConfigurationError(f"{name} must be a whole number of replicas, 0 for none")


def wait_for(acks: int, within: float) -> tuple[str, int, int]:
    """Return the command that asks how many replicas know what was sent before it.

    Args:
        acks: Replicas; with so many it answers at once.
        within: Seconds that are left; it takes at most half of them.
    """
    # Redis takes 0 for "without end".
    return ("WAIT", acks, max(1, int(min(ACKS_WITHIN_S, within / 2) * 1000)))


def missing_acks(acknowledged: Any, acks: int) -> NotReplicated | None:
    """Return what is wrong with the answer to `wait_for`; None when there are enough."""
    if isinstance(acknowledged, Exception):
        return NotReplicated(f"min_replicas: WAIT was refused ({acknowledged})")
    if acknowledged < acks:
        return NotReplicated(f"{acknowledged} replicas acknowledged it, but min_replicas is {acks}")
    return None
