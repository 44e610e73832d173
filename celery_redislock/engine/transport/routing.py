"""Routing: a store that finds its server anew when a failover, or the move of a slot, is under way."""

from __future__ import annotations

import time
from collections import ChainMap
from collections.abc import Mapping
from typing import Any

from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .bounded import step_of
from .redis_errors import code_of
from .store import Store

#: Pauses of a call between two attempts, seconds: the first, and the longest that it grows to.
PAUSE_FIRST_S, PAUSE_LONGEST_S = 0.02, 0.25
#: How long each step of one of several servers may take that says where the masters are, seconds.
LOOK_UP_S = 1.0
#: With less than this left nothing is tried again, seconds: it would only hide what was wrong.
AGAIN_S = 0.1
#: The least that anything may take, seconds.
LEAST_S = 0.02

#: What Redis says while it changes its shape.
_PASSING = frozenset({"READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "UNBLOCKED"})
#: What a script says that met a slot on the move between two of its own commands; sent again it goes on.
_MOVED_UNDER_A_SCRIPT = "non local key"

Address = tuple[str, int]


class RoutedStore(Store):
    """A store of several servers: a call goes on until it finds the one that serves it, or its time is up.

    Args:
        options: What makes the connections.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self._attempt_s = step_of(options)

    def pause_after(self, error: Exception, failures: int, deadline: float) -> float | None:
        """Return how long a call waits before a server may serve it; None: it gives up."""
        pause_s = min(PAUSE_FIRST_S * 2.0 ** (failures - 1), PAUSE_LONGEST_S)
        # After a silence the next attempt may take as long as the last one.
        needed_s = self._attempt_s if isinstance(error, RedisTimeoutError) else pause_s
        if not passes(error) or time.monotonic() + needed_s + AGAIN_S >= deadline:
            return None
        return pause_s


def passes(error: Exception) -> bool:
    """Whether another attempt, perhaps at another server, may succeed soon."""
    if isinstance(error, AuthenticationError):
        return False
    if isinstance(error, RedisConnectionError | RedisTimeoutError | OSError):
        return True
    return code_of(error) in _PASSING or _MOVED_UNDER_A_SCRIPT in str(error)


def left_until(deadline: float) -> float:
    """Return the seconds until `deadline` of the monotonic clock: some, or a socket would not wait at all."""
    return max(deadline - time.monotonic(), LEAST_S)


def share_of(deadline: float) -> float:
    """Return how long one of several servers may take, seconds: a silent one leaves time for another."""
    return max(left_until(deadline) / 2, LEAST_S)


def placed(address: Address, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return options together with an address; they are still what they are when they are read."""
    return ChainMap({"host": address[0], "port": address[1]}, options)  # type: ignore[arg-type]
