"""Background: a thread for what must not keep a run waiting.

A run leaves work here in one step, and goes on. The thread wakes up some tenths of a second later and does
what has come by then: so it seldom competes with a run, and finds much of the work in one go.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from ..engine.threads import Bell, Process, begin, here

logger = logging.getLogger(__name__)

#: How late work is done, seconds.
PAUSE_S = 0.5
#: More than this is not kept: the thread is stuck, or the process has no time for it.
MOST = 10_000
#: Without work the thread stays for so many pauses.
IDLE_PAUSES = 20


class Background:
    """Does work in a thread of its own, in the order in which it came.

    Args:
        pause_s: How late it is done, seconds.
    """

    def __init__(self, pause_s: float = PAUSE_S) -> None:
        self._pause_s = pause_s
        self._work: deque[Callable[[], object]] = deque()
        self._bell, self._done = Bell(), Bell()
        self._runs = False
        self.dropped = 0

    def put(self, work: Callable[[], object]) -> None:
        """Have this done soon; never blocks, never raises. It is dropped where too much is waiting."""
        if len(self._work) >= MOST:
            self.dropped += 1
            return
        self._work.append(work)
        if not self._runs:
            self._runs = True
            self._runs = begin(self._run, "redislock-observing")

    def flush(self, within_s: float) -> bool:
        """Do what has come until now, in this thread; return whether it is done.

        Args:
            within_s: For how long to go on, seconds. One piece of work may take longer.
        """
        finished = Bell()
        self.put(finished.ring)
        self._bell.ring()
        return finished.wait(within_s)

    def _run(self) -> None:
        idle = 0
        while idle < IDLE_PAUSES:
            self._bell.wait(self._pause_s)
            idle = 0 if self._work else idle + 1
            self._do_all()
        self._runs = False
        # Work may have come just before that.
        if self._work and not self._runs:
            self._runs = begin(self._run, "redislock-observing")

    def _do_all(self) -> None:
        while self._work:
            work = self._work.popleft()
            try:
                work()
            except Exception:
                logger.exception("what was seen of a lock could not be passed on")


_backgrounds: dict[Process, Background] = {}


def background_here() -> Background:
    """Return the one of this process; the child of a fork begins its own."""
    process = here()
    known = _backgrounds.get(process)
    if known is None:
        # In one step: two threads may come at once.
        known = _backgrounds.setdefault(process, Background())
    return known
