"""Deaths: notices, in a worker's parent, that a child has died, and gives back what its task held.

Celery's own notice can take five seconds, and on a hard time limit comes before the child is dead.
A pidfd becomes readable the moment the process has ended, however it ended and before anyone has
waited for it, https://man7.org/linux/man-pages/man2/pidfd_open.2.html. Where there is none, the
process is asked for a few times a second.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable

from ..engine.threads import begin

logger = logging.getLogger(__name__)

#: How often a process is asked for where there are no pidfds, seconds.
ASK_S = 0.2
#: No system has larger ones (PID_MAX_LIMIT of Linux). Celery's pools of greenlets give the address of
#: the greenlet in place of a pid.
LARGEST_PID = 2**22


class Deaths:
    """The children of this process that have accepted a locked task, and their last task."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._released_by: dict[int, dict[str, Callable[[], object]]] = {}
        self._pidfds: dict[int, int] = {}
        self._wake_end, self._waker = os.pipe()
        self._is_watching = False

    def expect(self, pid: int, release: Callable[[], object], of: str = "lock") -> None:
        """Have `release` called, in a thread of its own, when the child dies; its earlier one is forgotten.

        A child runs one task after the other; releasing one that is long over does nothing.

        Args:
            pid: The child.
            release: What to do.
            of: What a task has to give back; one of each is expected of a child.
        """
        with self._guard:
            is_new = pid not in self._released_by
            self._released_by.setdefault(pid, {})[of] = release
            if is_new:
                self._open(pid)
            if not self._is_watching:
                # If none can be started: what is expected now is done when the next one is.
                self._is_watching = begin(self._watch, "redislock-deaths")
        if is_new:
            os.write(self._waker, b".")

    def _open(self, pid: int) -> None:
        if not hasattr(os, "pidfd_open"):
            return
        try:
            self._pidfds[os.pidfd_open(pid)] = pid
        except OSError:
            # It is gone already, or there is no fd left: it is asked for instead.
            logger.debug("no pidfd for child %d", pid)

    def _watch(self) -> None:
        while True:
            for pid in self._dead():
                self._release(pid)

    def _dead(self) -> list[int]:
        """Sleep until something has happened, and return the children that are dead."""
        poll = select.poll()
        poll.register(self._wake_end, select.POLLIN)
        with self._guard:
            for pidfd in self._pidfds:
                poll.register(pidfd, select.POLLIN)
            asked = set(self._released_by) - set(self._pidfds.values())
        events = poll.poll(ASK_S * 1000 if asked else None)
        readable = {descriptor for descriptor, _ in events}
        if self._wake_end in readable:
            os.read(self._wake_end, 4096)
        return [self._pidfds[pidfd] for pidfd in readable & self._pidfds.keys()] + [
            pid for pid in asked if not _exists(pid)
        ]

    def _release(self, pid: int) -> None:
        with self._guard:
            releases = self._released_by.pop(pid, {})
            for pidfd in [fd for fd, of in self._pidfds.items() if of == pid]:
                del self._pidfds[pidfd]
                os.close(pidfd)
        for release in releases.values():
            try:
                release()
            except Exception:
                logger.exception("could not release the lock of dead child %d: it ends with its lease", pid)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


_deaths: dict[int, Deaths] = {}


def deaths_here() -> Deaths:
    """Return the watch of this process; a fork begins its own."""
    return _deaths.setdefault(os.getpid(), Deaths()) if os.getpid() not in _deaths else _deaths[os.getpid()]
