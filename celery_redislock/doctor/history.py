"""History: what has happened, as the rules look at it: the statistics that runs have left in Redis."""

from __future__ import annotations

from typing import Any

from .live import Live
from .rule import CannotLook

__all__ = ["History"]


class History:
    """What has happened.

    Args:
        live: What runs now, and what is declared.
        statistics: `observing.statistics.read` of the app.
    """

    def __init__(self, live: Live, statistics: Any) -> None:
        self.live, self.configured = live, live.configured
        self.statistics = statistics

    @classmethod
    def of(cls, live: Live, since_s: float) -> History:
        """Return what has happened.

        Args:
            live: What runs now.
            since_s: How far back, seconds.

        Raises:
            CannotLook: No statistics are kept.
            StoreUnavailable: Redis could not be reached.
        """
        raise CannotLook(f"no statistics of the last {since_s:.0f} s are kept at {live.provider.shown}")
