"""Background: a thread for what must not keep a run waiting.

A run leaves work here in one step, and goes on. The thread wakes up some tenths of a second later and does
what has come by then: so it seldom competes with a run, and finds much of the work in one go.
"""

from __future__ import annotations

import heapq
import logging
import threading
from collections import deque
from collections.abc import Callable
from itertools import count

from ..engine import now
from ..engine.threads import Bell, Process, begin, here

logger = logging.getLogger(__name__)

Work = Callable[[], object]

#: How late work is done, seconds.
PAUSE_S = 0.5
#: More than this is not kept: the thread is stuck, or the process has no time for it.
MOST = 10_000
#: Without work the thread stays for so many pauses.
IDLE_PAUSES = 20
#: A thread that was begun has begun after this, seconds; or it never will.
BEGUN_S = 1.0


class Background:
    """Does work in a thread of its own, in the order in which it came.

    Args:
        pause_s: How late it is done, seconds.
    """

    def __init__(self, pause_s: float = PAUSE_S) -> None:
        self._pause_s = pause_s
        self._work: deque[Work] = deque()
        #: What is done at a certain time; the thread's own. The number keeps those of one time in order.
        self._later: list[tuple[float, int, Work]] = []
        self._numbers = count()
        self._bell = Bell()
        #: Held by the thread for as long as it works: there is one, whatever has interrupted whom.
        self._duty = threading.Lock()
        self._begun_at, self._could_begin = -BEGUN_S, True
        self.dropped = 0

    def put(self, work: Work) -> None:
        """Have this done soon; never blocks, never raises. It is dropped where too much is waiting."""
        if len(self._work) >= MOST:
            self.dropped += 1
            return
        self._work.append(work)
        if not self._duty.locked():
            self._begin()

    def put_later(self, work: Work, after_s: float) -> None:
        """Have this done after some seconds. The end of the process does not wait for it.

        Args:
            work: What to do.
            after_s: Seconds.
        """
        at = now() + after_s
        self.put(lambda: heapq.heappush(self._later, (at, next(self._numbers), work)))

    def flush(self, within_s: float) -> bool:
        """Have the thread do what has come until now; return whether it is done.

        Args:
            within_s: For how long to wait for that, seconds.
        """
        finished = Bell()
        self._work.append(finished.ring)
        self._bell.ring()
        if not self._duty.locked() and not self._begin():
            # At the end of the interpreter no thread can be started.
            self._run_once()
        return finished.wait(within_s)

    def _begin(self) -> bool:
        """Begin the thread, unless one has been begun just now; return False where that is not possible."""
        at = now()
        if at - self._begun_at >= BEGUN_S:
            self._begun_at = at
            self._could_begin = begin(self._run, "redislock-observing")
        return self._could_begin

    def _run(self) -> None:
        # After the last look something may have come that saw the duty taken.
        while self._work or self._later:
            if not self._duty.acquire(blocking=False):
                return
            try:
                self._serve()
            finally:
                self._duty.release()
                # Before the next look: what comes after that begins another thread.
                self._begun_at = -BEGUN_S

    def _run_once(self) -> None:
        if self._duty.acquire(blocking=False):
            try:
                self._do_all()
            finally:
                self._duty.release()

    def _serve(self) -> None:
        idle = 0
        while idle < IDLE_PAUSES:
            self._bell.wait(self._pause_s)
            idle = 0 if self._work or self._later else idle + 1
            self._do_all()
            while self._later and self._later[0][0] <= now():
                _do(heapq.heappop(self._later)[2])

    def _do_all(self) -> None:
        while self._work:
            _do(self._work.popleft())


def _do(work: Work) -> None:
    try:
        work()
    except Exception:
        logger.exception("what was seen of a lock could not be passed on")


_backgrounds: dict[Process, Background] = {}


def background_here() -> Background:
    """Return the one of this process; the child of a fork begins its own."""
    process = here.process
    known = _backgrounds.get(process)
    if known is None:
        # In one step: two threads may come at once.
        known = _backgrounds.setdefault(process, Background())
    return known
