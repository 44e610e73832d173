"""History: what has happened, as the rules look at it: the statistics that runs have left in Redis."""

from __future__ import annotations

from functools import cached_property

from ..observing import statistics
from ..observing.statistics import Statistics
from .live import Live
from .rule import CannotLook

__all__ = ["History"]

_DAY_S = 86400.0


class History:
    """What has happened.

    Args:
        live: What runs now, and what is declared.
        counted: What the processes of the app have counted.
    """

    def __init__(self, live: Live, counted: Statistics) -> None:
        self.live, self.configured = live, live.configured
        self.statistics = counted

    @classmethod
    def of(cls, live: Live, since_s: float) -> History:
        """Return what has happened.

        Args:
            live: What runs now.
            since_s: How far back, seconds.

        Raises:
            CannotLook: Nothing was counted.
            StoreUnavailable: Redis could not be reached.
        """
        counted = statistics.read(live.configured.app, since_s)
        if counted.since is None:
            raise CannotLook("no run has been counted yet, or redislock_stats is off")
        return cls(live, counted)

    @cached_property
    def last_day(self) -> Statistics:
        """What was counted in the last day.

        Raises:
            StoreUnavailable: Redis could not be reached.
        """
        return statistics.read(self.configured.app, _DAY_S)
