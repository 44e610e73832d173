"""Child deaths: a worker's parent notices that a child has died, and gives back what its task held.

Celery notices it up to five seconds later, and on a hard time limit before the child is dead. A pidfd
becomes readable at the moment when the process ends, however it ends and before anyone has waited for it,
https://man7.org/linux/man-pages/man2/pidfd_open.2.html. Where there are none, the parent asks the system a
few times a second whether the child exists.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable

from ..engine.threads import begin, exists

logger = logging.getLogger(__name__)

#: How often the system is asked for a child without a pidfd, seconds.
ASK_S = 0.2
#: No pid is larger (PID_MAX_LIMIT of Linux). Celery's pools of greenlets give the address of a greenlet in
#: place of a pid.
LARGEST_PID = 2**22


class Deaths:
    """The children of this process that run a locked task, and what to do when one dies."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._releases: dict[int, dict[str, Callable[[], object]]] = {}
        self._pidfds: dict[int, int] = {}
        self._wake_end, self._waker = os.pipe()
        self._is_watching = False

    def expect(self, pid: int, release: Callable[[], object], of: str = "lock") -> None:
        """Call `release` in the watching thread when a child dies.

        It replaces the `release` of the child's task before this one: a child runs one task after the other.
        After the task has ended it may be called too, and must then do nothing.

        Args:
            pid: The child.
            release: What to do.
            of: What the task gives back: each kind has one `release`.
        """
        with self._guard:
            is_new = pid not in self._releases
            self._releases.setdefault(pid, {})[of] = release
            if is_new:
                self._open(pid)
            if not self._is_watching:
                # If the thread cannot be started, the next call tries again.
                self._is_watching = begin(self._watch, "redislock-deaths")
        if is_new:
            os.write(self._waker, b".")

    def _open(self, pid: int) -> None:
        if not hasattr(os, "pidfd_open"):
            return
        try:
            self._pidfds[os.pidfd_open(pid)] = pid
        except OSError:
            # The child is gone already, or no descriptor is left: the system is asked instead.
            logger.debug("no pidfd for child %d", pid)

    def _watch(self) -> None:
        while True:
            for pid in self._dead():
                self._release(pid)

    def _dead(self) -> list[int]:
        """Sleep until a child dies, or another is to be watched; return the children that are dead."""
        poll = select.poll()
        poll.register(self._wake_end, select.POLLIN)
        with self._guard:
            for pidfd in self._pidfds:
                poll.register(pidfd, select.POLLIN)
            without_pidfd = set(self._releases) - set(self._pidfds.values())
        events = poll.poll(ASK_S * 1000 if without_pidfd else None)
        readable = {descriptor for descriptor, _ in events}
        if self._wake_end in readable:
            os.read(self._wake_end, 4096)
        return [self._pidfds[pidfd] for pidfd in readable & self._pidfds.keys()] + [
            pid for pid in without_pidfd if not exists(pid)
        ]

    def _release(self, pid: int) -> None:
        with self._guard:
            releases = self._releases.pop(pid, {})
            for pidfd in [fd for fd, of in self._pidfds.items() if of == pid]:
                del self._pidfds[pidfd]
                os.close(pidfd)
        for release in releases.values():
            try:
                release()
            except Exception:
                logger.exception(
                    "could not release the lock of dead child process %d; it is free when its lease ends", pid
                )


_deaths: dict[int, Deaths] = {}


def deaths_here() -> Deaths:
    """Return the watch of this process; a fork begins its own."""
    pid = os.getpid()
    if pid not in _deaths:
        # In one step: two threads may come at once.
        _deaths.setdefault(pid, Deaths())
    return _deaths[pid]
