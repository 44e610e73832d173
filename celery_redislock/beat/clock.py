"""Clock: the Redis server's clock as a beat knows it, and its milliseconds as moments."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from ..durations import EPOCH
from ..engine import now

_MS = timedelta(milliseconds=1)


class ServerClock:
    """The Redis server's clock: set by each reply, counted on by this machine in between.

    Steps of the machine's own wall clock do not move it.

    Args:
        server_ms: The server's time, milliseconds since 1970.
        counter: Counts seconds, and is never stepped.
        wall_clock: Returns the machine's time, seconds since 1970.
    """

    def __init__(
        self,
        server_ms: int,
        *,
        counter: Callable[[], float] = now,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._counter, self._wall_clock = counter, wall_clock
        self.set(server_ms)
        self._last_ahead_s = self.ahead_s

    def set(self, server_ms: int) -> None:
        """Set the clock to what the server said just now, milliseconds since 1970."""
        self._server_ms = server_ms
        self._set_at = self._counter()

    @property
    def now_ms(self) -> int:
        """Milliseconds since 1970; behind the server by the way of its last reply, never ahead."""
        return self._server_ms + int((self._counter() - self._set_at) * 1000)

    @property
    def ahead_s(self) -> float:
        """How far the machine's wall clock is ahead of the server's, seconds."""
        return self._wall_clock() - self.now_ms / 1000

    def was_wall_clock_stepped(self) -> bool:
        """Whether the machine's wall clock has moved by a second or more since the last call."""
        moved_s = self.ahead_s - self._last_ahead_s
        if abs(moved_s) < 1:
            return False
        self._last_ahead_s += moved_s
        return True


def to_ms(moment: datetime) -> int:
    """Return a moment as whole milliseconds since 1970."""
    return (moment - EPOCH) // _MS


def from_ms(ms: int) -> datetime:
    """Return the moment that is so many milliseconds after 1970, in UTC."""
    return EPOCH + ms * _MS
