"""Threads and processes: how threads of ours are started and woken, and which process this is.

A signal's handler may raise in a user's thread at any moment: a soft time limit, Ctrl-C. What such a
thread shares with ours is therefore changed in single steps that the interpreter does not divide, and
no mutex is held meanwhile. `threading.Condition` and `threading.Event` would be: interrupted in their
own Python code they stay locked for ever, https://github.com/python/cpython/issues/148874.
"""

from __future__ import annotations

import _thread
import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress

logger = logging.getLogger(__name__)


class Bell:
    """Rung by some threads, waited for by one; rung while none waits, it wakes the next that does."""

    def __init__(self) -> None:
        # Of C, or a greenlet library's own.
        self._silence = threading.Lock()
        self._silence.acquire()

    def ring(self) -> None:
        """Wake the thread that waits."""
        with suppress(RuntimeError):  # it rings already
            self._silence.release()

    def wait(self, seconds: float) -> bool:
        """Wait until it rings, or for so many seconds; return whether it rang."""
        return self._silence.acquire(timeout=min(max(seconds, 0), threading.TIMEOUT_MAX))


def begin(work: Callable[[], object], name: str) -> bool:
    """Start a daemon thread; return False, with an error in the log, where the system has none left.

    At the end of the interpreter none can be started either.
    """
    try:
        # In one step: interrupted in `threading.Thread.start`, a thread may hang before its first line.
        _thread.start_new_thread(_begin_known, (work, name))
    except (RuntimeError, MemoryError) as error:
        logger.error("could not start the thread %s: %s", name, error)  # noqa: TRY400 - it says all
        return False
    return True


def _begin_known(work: Callable[[], object], name: str) -> None:
    """Do the work in a thread that `threading` knows. No signal's handler runs here."""
    try:
        threading.Thread(target=work, name=name, daemon=True).start()
    except (RuntimeError, MemoryError):
        work()


class Process:
    """Marks one process: what a fork inherits has the mark of the parent."""


class Here:
    """Where the code that asks runs. Read, not called: each run asks several times.

    Attributes:
        process: The mark of this process.
    """

    __slots__ = ("process",)

    def __init__(self) -> None:
        self.process = Process()


here = Here()


def begin_afresh() -> None:
    """Be another process from now on: so begins the child of a fork, see ``lease/per_client.py``."""
    here.process = Process()


def exists(pid: int) -> bool:
    """Return whether there is a process with this number on this machine, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
